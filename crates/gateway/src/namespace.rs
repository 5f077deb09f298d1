//! Sockets in the network of a replica.

use std::{fs::File, io, os::fd::AsFd, path::Path, sync::OnceLock};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::net::TcpSocket;

/// The namespace of this process.
const OWN: &str = "/proc/self/ns/net";

/// A socket that belongs to the network namespace of the file `namespace`, wherever it is used.
///
/// Only a root process can do this, which is what keeps everybody else from the replica. This
/// thread is inside for the few microseconds that it takes, in which it does nothing else.
pub(crate) fn socket(namespace: &Path) -> io::Result<TcpSocket> {
    let own = own()?;
    let inside = File::open(namespace)?;
    move_into_link_name_space(inside.as_fd(), Some(LinkNameSpaceType::Network))?;
    let socket = TcpSocket::new_v4();
    if let Err(error) = move_into_link_name_space(own.as_fd(), Some(LinkNameSpaceType::Network)) {
        // Serving from inside a function's network would be worse than not serving.
        tracing::error!(%error, "cannot leave a function's network");
        std::process::abort();
    }
    socket
}

fn own() -> io::Result<&'static File> {
    static FILE: OnceLock<File> = OnceLock::new();
    match FILE.get() {
        Some(file) => Ok(file),
        None => {
            let file = File::open(OWN)?;
            Ok(FILE.get_or_init(|| file))
        }
    }
}
