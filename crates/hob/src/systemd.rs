//! What hob and systemd have to say to each other.

mod sockets;

pub(crate) use sockets::PassedSockets;
