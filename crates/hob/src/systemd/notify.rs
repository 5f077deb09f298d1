use std::{
    ffi::{OsStr, OsString},
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use crate::environment::Environment;

/// How long a word may take: a manager that does not read must not hold up the server.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whoever started this process and wants to hear how it is, by sd_notify(3); or nobody.
#[derive(Debug)]
pub(crate) struct Manager(Option<OsString>);

// === impl Manager ===

impl Manager {
    /// The one that the environment names.
    pub(crate) fn of(env: &Environment) -> Self {
        Self(env.var("NOTIFY_SOCKET").map(OsStr::to_owned))
    }

    /// Calls are served. `status` is one line for people.
    pub(crate) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// No more calls are taken.
    pub(crate) fn stopping(&self, status: &str) {
        self.tell(&format!("STOPPING=1\nSTATUS={status}\n"));
    }

    fn tell(&self, words: &str) {
        let Some(name) = &self.0 else { return };
        if let Err(error) = send(name, words) {
            tracing::warn!(
                "cannot tell the service manager at {}: {error}",
                name.display()
            );
        }
    }
}

fn send(name: &OsStr, words: &str) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(words.as_bytes(), &address)?;
    Ok(())
}
