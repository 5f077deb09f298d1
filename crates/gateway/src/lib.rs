//! The data plane: accepts connections, finds the function a call is for, wakes it when it
//! sleeps, forwards the call to one of its replicas and puts a receipt on the answer.
//!
//! It knows routes and the [`hob_model::port::Wake`] port, and nothing of builds, stores or
//! cages. Begin reading at `call.rs`, where the life of a call is one list; `lane.rs` is
//! the short way of plain calls.
#![forbid(unsafe_code)]

mod access;
mod answer;
mod body;
mod buffers;
mod call;
mod client;
mod config;
mod connection;
mod cors;
mod counted;
mod date;
mod digits;
mod door;
mod error;
mod files;
mod forward;
mod gateway;
mod guard;
mod head;
mod headers;
mod inlet;
mod lane;
mod later;
mod lease;
mod listen;
mod namespace;
mod outlet;
mod pace;
mod path;
mod pool;
mod proxies;
mod receipt;
mod retry;
mod room;
mod run;
mod shun;
mod timer;
mod tls;
mod unread;
mod upgrade;
mod upstream;
mod worker;

pub use access::{AccessFormat, AccessLog, AccessTarget};
pub use config::{CallLimits, GatewayConfig, RunFields};
pub use gateway::{AnswerBody, BoxError, CallBody, Fallback, Gateway, GatewayHandle, GatewayPorts};
pub use listen::Listeners;
pub use proxies::{Proxies, ProxyHeader};
pub use tls::{Certificates, TlsConfig};
