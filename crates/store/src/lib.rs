//! What must survive: functions and asynchronous calls in a SQLite database, each secret in an age
//! file, and the machine's own certificate authority in PEM files.
//!
//! Everything here blocks on the disk; an async caller goes through `spawn_blocking`. A write
//! that returned `Ok` is on the disk and stays there through `kill -9` and power loss.
#![forbid(unsafe_code)]

mod acme;
mod authority;
pub mod clock;
mod commits;
pub mod disk;
mod durable;
mod error;
mod hosts;
mod password;
mod queue;
mod secret;
mod store;

pub use acme::{AcmeFolder, AcmeRetry};
pub use authority::{
    Authority, AuthorityError, Certificate, HostName, HostNameError, ROOT_NAME_MAX,
};
pub use error::StoreError;
pub use hosts::forget_hosts;
pub use password::{AdminHash, AdminPassword, PasswordError};
pub use queue::{
    Attempt, CallQueue, CallRecord, CallRow, CallState, CallToMake, CallbackToMake, Ending, Fields,
    Listing, NewCall, Next,
};
pub use secret::{SecretStore, Written};
pub use store::{
    AUDIT_MOST, AUDIT_REFUSED_MOST, AuditFilter, AuditRow, DataLock, Held, KeptRevision, LOCK,
    RESTORING, ScheduleRow, Store, TokenRow, check_database,
};
