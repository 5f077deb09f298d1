//! Caging one process tree on Linux: namespaces, cgroup limits, seccomp, landlock, or an OCI
//! runtime program in place of them; and networks for what is in the cages.
//!
//! The only crate that may hold `unsafe`. The daemon never forks: a small single-threaded helper,
//! the same executable run again, builds the cage.

mod adopt;
mod birth;
mod cage;
mod capabilities;
mod cgroup;
mod descendants;
mod error;
mod native;
pub mod network;
mod oci;
mod oneshot;
mod probe;
mod sandbox;
mod seccomp;
mod spec;

pub use birth::{boot_id, living_since};
pub use cage::{Cage, CageRecord};
pub use capabilities::{Able, Capabilities, CgroupSupport, Runtime};
pub use cgroup::Alarm;
pub use error::SandboxError;
pub use native::helper::run_helper_if_asked;
pub use oneshot::{BOX, OneShot, OneShotEnd, OneShotSpec, Program, ReadyCage, Usage};
pub use sandbox::{Sandbox, SandboxConfig};
pub use spec::{
    Access, Bind, CAGE_UID, CageLimits, CageNetwork, CageRoot, CageSpec, CageUser, MAX_LAYERS,
    Mechanism, STOP_SIGNAL,
};
