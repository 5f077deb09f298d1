//! The gateway through its sockets: real connections on one side, real replicas on the other,
//! and a fake control plane behind the `Wake` port.
#![allow(clippy::unwrap_used, missing_docs)]

#[macro_use]
mod harness;

mod access;
mod auth;
mod balance;
mod bans;
mod bodies;
mod canary;
mod cors;
mod counts;
mod deadline;
mod domains;
mod failure;
mod files;
mod forward;
mod lane;
mod lifecycle;
mod output;
mod per_call;
mod protocol;
mod proxies;
mod rates;
mod slow;
mod smuggling;
mod wake;
mod way;
