//! What hob and systemd have to say to each other.

mod control;
mod notify;
mod sockets;
mod unit_file;
mod units;

pub(crate) use control::{Scope, Systemctl};
pub(crate) use notify::Manager;
pub(crate) use sockets::PassedSockets;
pub(crate) use unit_file::UnitFile;
pub(crate) use units::{Plan, SERVICE, Unit, data_in, names, units};
