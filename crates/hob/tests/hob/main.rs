//! The real executable, from outside: what its users see, and what they must never lose.
#![allow(clippy::unwrap_used, missing_docs)]

mod authority;
mod bench;
mod build;
mod command_line;
mod develop;
mod examples;
mod export;
mod first_function;
mod json_shapes;
mod mistakes;
mod remote;
mod secrets;
mod start;
mod survive;
