//! The real executable, from outside: what its users see, and what they must never lose.
#![allow(clippy::unwrap_used, missing_docs)]

mod authority;
mod bench;
mod build;
mod builder;
mod command_line;
mod conformance;
mod develop;
mod examples;
mod export;
mod first_function;
mod images;
mod json_shapes;
mod logs;
mod metrics;
mod mistakes;
mod openapi;
mod openfaas;
mod pushed;
mod registry;
mod remote;
mod schedules;
mod secrets;
mod start;
mod survive;
