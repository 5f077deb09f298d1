//! Pools of one-shot sandboxes: on this machine, on other machines that run `hob worker`, or on
//! machines that are rented for it. Each implements the port `Sandboxes`.

mod line;
pub mod local;

pub use line::{Line, Place};
pub use local::{LocalPool, LocalPoolConfig};
