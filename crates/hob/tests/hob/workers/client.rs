//! A client that reads the bytes of a worker, as the coordinator of bfaas does: it believes in
//! nothing but HTTP/1.1, and passes on what comes.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Longest wait for the next byte.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a worker answered, with no chunks in it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

/// A request whose answer is still to be read.
pub(crate) struct Asked(TcpStream);

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// A header; empty when it is not there.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

impl Asked {
    /// The whole answer; `None` when the connection was closed without one.
    pub(crate) fn reply(mut self) -> Option<Reply> {
        let mut all = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut all) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
        let end = all.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8(all[..end].to_vec()).unwrap();
        let body = &all[end + 4..];
        let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        Some(Reply {
            status: head.split(' ').nth(1)?.parse().unwrap(),
            body: if chunked { joined(body) } else { body.to_vec() },
            head,
        })
    }

    /// Waits for this text in the answer, and forgets what came.
    pub(crate) fn hears(&mut self, text: &str) {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(text) {
            let mut some = [0; 1024];
            let count = self.0.read(&mut some).unwrap();
            assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&heard));
            heard.extend_from_slice(&some[..count]);
        }
    }
}

/// Sends a request; `None` when nobody listens there.
pub(crate) fn ask(
    address: SocketAddr,
    line: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Asked> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()?;
    Some(Asked(stream))
}

/// The data of whole chunks.
fn joined(mut chunks: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(end) = chunks.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        chunks = &chunks[end + 2..];
        if size == 0 || chunks.len() < size + 2 {
            break;
        }
        data.extend_from_slice(&chunks[..size]);
        chunks = &chunks[size + 2..];
    }
    data
}
