//! Whether a program in a network of its own is ready for calls.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    time::Duration,
};

use super::plan::{Home, Program};

/// Where every watchdog of OpenFaaS says whether it is well; what has no such path answers
/// something else than 503 and counts as well.
const HEALTH: &str = "/_/health";
/// Annotations that name other paths; those must answer with success.
const PATHS: [&str; 2] = [
    "com.openfaas.ready.http.path",
    "com.openfaas.health.http.path",
];
/// Longest wait for a connection, which loopback has at once.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for the answer. A program that has taken the connection and says nothing for so
/// long is one that answers slowly.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// As much of the answer as has the status, in bytes: `HTTP/1.1 200`.
const STATUS_LINE: usize = 12;

/// One look.
pub(super) struct Probe {
    namespace: PathBuf,
    address: SocketAddr,
    path: String,
    /// Whether somebody named the path.
    strict: bool,
    /// A folder's program is ready when it listens.
    listens_only: bool,
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(program: &Program, namespace: PathBuf, address: SocketAddr) -> Self {
        let openfaas = program.revision.settings.openfaas.as_ref();
        let annotations = openfaas.and_then(|asked| asked.annotations.as_ref());
        let named = PATHS.iter().find_map(|key| annotations?.get(*key));
        Self {
            namespace,
            address,
            path: named.map_or(HEALTH, String::as_str).to_owned(),
            strict: named.is_some(),
            listens_only: matches!(program.home, Home::Bundle(_)),
        }
    }

    /// Blocks for at most some seconds.
    pub(super) fn is_ready(&self) -> bool {
        // Only the socket has to be made inside.
        let connect = || TcpStream::connect_timeout(&self.address, CONNECT_TIMEOUT);
        let Ok(Ok(stream)) = hob_sandbox::network::enter(&self.namespace, connect) else {
            return false;
        };
        if self.listens_only {
            return true;
        }
        match self.ask(stream) {
            Ok(status) if self.strict => (200..400).contains(&status),
            Ok(status) => status != 503,
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
            ),
        }
    }

    fn ask(&self, mut stream: TcpStream) -> io::Result<u16> {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let path = &self.path;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: hob\r\nConnection: close\r\n\r\n"
        )?;
        let mut start = [0; STATUS_LINE];
        stream.read_exact(&mut start)?;
        let status = start
            .strip_prefix(b"HTTP/1.")
            .and_then(|rest| std::str::from_utf8(rest.get(2..)?).ok()?.parse().ok());
        status.ok_or_else(|| io::Error::other("no HTTP"))
    }
}
