//! Where replicas run, and how folders become bundles.
//!
//! [`local`] keeps the replicas of this machine: it starts them in their cages, swaps revisions
//! without a gap, restarts what dies and keeps their logs. [`build`] turns a folder into an
//! immutable bundle. [`pool`] keeps sandboxes for one-shot runs.
#![forbid(unsafe_code)]

pub mod build;
mod export;
pub mod local;
pub mod pool;
mod remove;

pub use build::{BuilderConfig, FolderBuilder, ImageMaker, Templates};
pub use local::{LocalConfig, LocalEngine};
