//! Folders become bundles with the real tools in real cages, and the bundles' programs are started and
//! called as anybody could, without the engine.
#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

mod caching;
mod client;
mod export;
mod failure;
mod foreign;
#[path = "../local/helper.rs"]
mod helper;
mod hostile;
mod image;
mod languages;
mod network;
mod node;
mod program;
mod python;
mod server;
mod shell;
mod workshop;
