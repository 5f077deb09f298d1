//! Whether a program in a network of its own is ready for calls.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
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
/// Where a watchdog in the mode `http` finds the program that it stands before.
const UPSTREAMS: [&str; 2] = ["upstream_url", "http_upstream_url"];
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
    /// A watchdog says that it is well when the program behind it may not listen yet, and answers
    /// 500 for it. Any of these will do; none is for programs that stand alone.
    upstream: Vec<SocketAddr>,
    path: String,
    /// Whether somebody named the path.
    strict: bool,
    /// A folder's program is ready when it listens.
    listens_only: bool,
}

// === impl Probe ===

impl Probe {
    pub(super) fn new(program: &Program, namespace: PathBuf, address: SocketAddr) -> Self {
        let annotations = &program.revision.settings.annotations;
        let named = PATHS.iter().find_map(|key| annotations.get(*key));
        Self {
            namespace,
            address,
            upstream: upstream(program),
            path: named.map_or(HEALTH, String::as_str).to_owned(),
            strict: named.is_some(),
            listens_only: matches!(program.home, Home::Bundle(_)),
        }
    }

    /// Blocks for at most some seconds.
    pub(super) fn is_ready(&self) -> bool {
        let Ok(stream) = self.connect(&self.address) else {
            return false;
        };
        if self.listens_only {
            return true;
        }
        let mut upstream = self.upstream.iter();
        if !self.upstream.is_empty() && !upstream.any(|address| self.connect(address).is_ok()) {
            return false;
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

    /// Only the socket has to be made inside.
    fn connect(&self, address: &SocketAddr) -> io::Result<TcpStream> {
        connect(&self.namespace, address)
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

/// Whether somebody listens at `address` in a namespace. Blocks for up to half a second.
pub(super) fn accepts(namespace: &Path, address: &SocketAddr) -> bool {
    connect(namespace, address).is_ok()
}

fn connect(namespace: &Path, address: &SocketAddr) -> io::Result<TcpStream> {
    let connect = || TcpStream::connect_timeout(address, CONNECT_TIMEOUT);
    hob_sandbox::network::enter(namespace, connect).map_err(io::Error::other)?
}

fn upstream(program: &Program) -> Vec<SocketAddr> {
    let url = UPSTREAMS.iter().find_map(|name| program.variable(name));
    match (program.variable("mode"), url) {
        (Some("http"), Some(url)) => inside(url),
        _ => Vec::new(),
    }
}

/// Where a URL leads, if that is in the replica itself.
fn inside(url: &str) -> Vec<SocketAddr> {
    let place = url.trim().strip_prefix("http://").unwrap_or_default();
    let place = place.split('/').next().unwrap_or_default();
    if let Ok(address) = place.parse::<SocketAddr>() {
        return Vec::from_iter(Some(address).filter(|address| address.ip().is_loopback()));
    }
    let port = place.strip_prefix("localhost:").map(str::parse);
    match port {
        Some(Ok(port)) => vec![
            (Ipv4Addr::LOCALHOST, port).into(),
            (Ipv6Addr::LOCALHOST, port).into(),
        ],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_behind_the_watchdog_is_looked_at_only_where_it_is_the_replicas_own() {
        let seen = |url| {
            let found = inside(url).into_iter().map(|address| address.to_string());
            found.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(seen("http://127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(seen("http://127.0.0.1:5000/api/"), "127.0.0.1:5000");
        assert_eq!(seen("http://localhost:3000"), "127.0.0.1:3000 [::1]:3000");
        for elsewhere in [
            "",
            "127.0.0.1:5000",
            "http://127.0.0.1",
            "http://localhost:x",
            "https://127.0.0.1:1",
            "http://10.0.0.1:80",
            "http://example.net:80",
        ] {
            assert_eq!(seen(elsewhere), "", "{elsewhere}");
        }
    }
}
