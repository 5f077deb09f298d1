//! Images as files: what other programs write is read, and what hob writes they read.
#![allow(clippy::unwrap_used, missing_docs)]

mod bench;
mod foreign;
mod hostile;
mod remove;
mod round;
