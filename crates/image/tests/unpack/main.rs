//! Layers of all kinds, unpacked: those that a tar program writes, and those that nobody should.
#![allow(clippy::unwrap_used, missing_docs)]

mod damaged;
mod hostile;
mod layer;
mod links;
mod metadata;
mod nobody;
mod overlay;
mod place;
mod programs;
mod replaced;
mod user;
mod whiteouts;
