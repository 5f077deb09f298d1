//! Pools of one-shot sandboxes: on this machine, on other machines that run `hob worker`, or on
//! machines that are rented for it. Each implements the port `Sandboxes`.

mod fly;
mod line;
mod worker;

pub use fly::{
    Clock, FlyConfig, FlyError, FlyPool, FlyToken, Guest, OnClose, Pace, PoolName, Reuse,
};
pub use line::{Line, Place};
pub use worker::{
    Authorisation, ClientError, Gate, Held, KeyError, Pass, Protocol, PublicKey, SigningKey,
    Unauthorised, WorkerAddress, WorkerClient, WorkerError, WorkerId, WorkerIdError,
};
