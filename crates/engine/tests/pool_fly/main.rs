//! The pool of Fly Machines, against a fake of Fly's API: no account is at hand for tests.
#![allow(clippy::unwrap_used, missing_docs)]

mod faults;
mod hostile;
mod leases;
mod others;
mod restart;
mod runs;
mod world;
