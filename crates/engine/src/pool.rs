//! Pools of one-shot sandboxes: on this machine, on other machines that run `hob worker`, or on
//! machines that are rented for it. Each implements the port `Sandboxes`.

mod fly;
mod line;
pub mod local;
mod worker;
mod workers;

pub use fly::{
    Clock, FlyConfig, FlyError, FlyPool, FlyToken, Guest, OnClose, Pace, PoolName, Reuse,
};
pub use line::{Line, Place};
pub use local::{LocalPool, LocalPoolConfig};
pub use worker::{
    Authorisation, ClientError, Gate, Held, KeyError, Pass, Protocol, PublicKey, SigningKey,
    Unauthorised, WorkerAddress, WorkerClient, WorkerError, WorkerId, WorkerIdError,
};
pub use workers::{WorkerConfig, WorkerPool, WorkersConfig};
