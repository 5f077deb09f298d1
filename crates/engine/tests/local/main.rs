//! The local engine with real cages, real Python programs and real files.
#![allow(clippy::unwrap_used, missing_docs)]

mod deploy;
mod disk_full;
mod failure;
mod freeze;
mod helper;
mod isolation;
mod lifetime;
mod logs;
mod scale;
mod secrets;
mod world;
