//! Caging one process tree on Linux: namespaces, cgroup limits, seccomp, landlock, or an OCI
//! runtime program in place of them.
//!
//! The only crate that may hold `unsafe`. The daemon never forks: a small single-threaded helper,
//! the same executable run again, builds the cage.

mod cage;
mod capabilities;
mod error;
mod sandbox;
mod spec;

pub use cage::{Cage, CageRecord};
pub use capabilities::{Able, Capabilities, CgroupSupport, Runtime};
pub use error::SandboxError;
pub use sandbox::{Sandbox, SandboxConfig};
pub use spec::{Access, Bind, CAGE_UID, CageLimits, CageSpec, CageUser, Mechanism};

/// The first line of `main`: becomes the cage's helper, and never returns, when the first
/// argument is `cage-init`.
pub fn run_helper_if_asked() {}
