//! The control plane: the API under `/hob/v1`, the desired state, waking and idling.
//!
//! It decides what should run and tells the engine; it never touches a replica or a call itself.
#![forbid(unsafe_code)]

mod api;
mod audit;
mod autoscale;
mod backup;
mod bans;
mod build;
mod bundles;
mod canary;
mod certificates;
mod coming;
mod control;
mod deploy;
mod deployed;
mod domains;
mod ending;
mod events;
mod gate;
mod idle;
mod images;
mod metrics;
mod namespaces;
mod origin;
mod queue;
mod registries;
mod registry;
mod remote_builds;
mod restore;
mod rollback;
mod runs;
mod schedule;
mod sealed;
mod summary;
mod tokens;
mod translate;
mod turns;
mod usage;
mod wake;

pub use api::{Access, LocalUser};
pub use certificates::{
    AcmeChallenge, AcmeConfig, CertificateFiles, Certificates, CertificatesConfig,
    CertificatesError,
};
pub use control::{Control, ControlConfig, ControlParts};
pub use queue::QueueLimits;
pub use registries::{KnownRegistries, RegistriesError};
pub use registry::{OWN_REGISTRY, Registry, own_name};
pub use restore::Restored;
pub use runs::{PLAIN, Runs, RunsConfig};
