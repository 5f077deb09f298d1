//! The control plane: the API under `/hob/v1`, the desired state, waking and idling.
//!
//! It decides what should run and tells the engine; it never touches a replica or a call itself.
#![forbid(unsafe_code)]

mod control;

pub use control::{Access, Control, ControlConfig, ControlParts, Restored};
