//! One worker, driven by HTTP: `hob worker`, or `basher` of bfaas.

mod authorisation;
mod client;
mod events;
mod gate;
mod keys;
mod order;
mod sse;

pub use authorisation::{Authorisation, WorkerId, WorkerIdError};
pub use client::{ClientError, Held, Protocol, WorkerAddress, WorkerClient, WorkerError};
pub(super) use events::SLACK;
pub use gate::{Gate, Pass, Unauthorised};
pub use keys::{KeyError, PublicKey, SigningKey};
pub(super) use order::settle;
