//! The fault run: what hob promises while it, its replicas and its disk have a bad day.
//!
//! [`calls`] keeps a constant load on functions while they are redeployed, killed, put to sleep
//! and flood their logs, and while hob itself is killed: no call may fail without a fault of its
//! own replica. [`state`] has clients change what is deployed while hob is killed again and again:
//! nothing that was acknowledged may be lost.
#![forbid(unsafe_code)]

pub mod calls;
mod dice;
mod form;
mod run;
pub mod state;
mod stop;

pub use form::Form;
pub use run::{Outcome, Run};
pub use stop::Stop;
