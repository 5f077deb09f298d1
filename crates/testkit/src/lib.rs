//! A hob of one's own for tests: the real executable on a free port with a temporary data
//! directory, a strict client, and `assert_eventually!`.
//!
//! When a [`Hob`] is dropped it is stopped as its owner would stop it, and the test fails if a
//! process, a cgroup, a mount or a folder of it is left.
#![forbid(unsafe_code)]

mod answer;
mod cli;
mod disk;
mod eventually;
mod fly;
mod hob;
mod leftovers;
mod needs;
mod net;
mod prometheus;
mod registry;

pub use answer::Answer;
pub use cli::{Cli, Outcome};
pub use disk::Disk;
pub use eventually::{EVENTUALLY, wait_until};
pub use fly::{FLY_APP, FLY_TOKEN, FakeFly, FakeMachine, FlyFault, FlyVerb};
pub use hob::{Hob, HobBuilder};
pub use needs::{has_programs, is_root, rare_program};
pub use net::Net;
pub use prometheus::{PROMETHEUS_PROGRAM, Prometheus};
pub use registry::{REGISTRY_PROGRAM, Registry};
