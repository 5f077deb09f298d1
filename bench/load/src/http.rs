//! The smallest HTTP/1.1 client that can be timed: one kept-alive connection, one call at a time.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

/// A call without an answer for so long is an error.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes read at once; the answers of the bench are much shorter.
const BUFFER: usize = 16 << 10;

/// Where to call: `127.0.0.1:8080` or `unix:/run/x.sock`.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|error| format!("`{text}` is neither HOST:PORT nor unix:PATH: {error}")),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One open connection.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
}

/// What the bench wants to know of an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) keep_alive: bool,
}

impl Connection {
    pub(crate) fn open(target: &Target) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match target {
            Target::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, PATIENCE)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                Box::new(stream)
            }
        };
        Ok(Self {
            stream,
            received: Vec::with_capacity(BUFFER),
        })
    }

    /// Sends one request and reads its whole answer.
    pub(crate) fn call(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.send(request)?;
        self.receive(true)
    }

    pub(crate) fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.received.clear();
        self.stream.write_all(request)
    }

    /// Reads the answer's head, and its body too when `whole`.
    pub(crate) fn receive(&mut self, whole: bool) -> io::Result<Answer> {
        let head = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill()?;
        };
        let text = std::str::from_utf8(&self.received[..head]).map_err(|_| broken("no text"))?;
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| broken("no status"))?;
        let keep_alive =
            header(text, "connection").is_none_or(|value| !value.eq_ignore_ascii_case("close"));
        if whole {
            let length = header(text, "content-length").map(str::parse::<usize>);
            let chunked = header(text, "transfer-encoding").is_some();
            match length {
                Some(length) => {
                    let end = head + length.map_err(|_| broken("a bad length"))?;
                    while self.received.len() < end {
                        self.fill()?;
                    }
                }
                None if chunked => {
                    while !self.received[head..].ends_with(b"0\r\n\r\n") {
                        self.fill()?;
                    }
                }
                None => return Err(broken("no length")),
            }
        }
        Ok(Answer { status, keep_alive })
    }

    /// Whether the last answer has these bytes.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        find(&self.received, bytes).is_some()
    }

    /// The last answer, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received).into_owned()
    }

    fn fill(&mut self) -> io::Result<()> {
        let start = self.received.len();
        self.received.resize(start + BUFFER, 0);
        let read = self.stream.read(&mut self.received[start..]);
        self.received.truncate(start + *read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// A GET without a body.
pub(crate) fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").into_bytes()
}

/// A POST of a text.
pub(crate) fn post(path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len())
        .position(|window| window == pattern)
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the answer has {what}"))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    fn answered_with(text: &'static [u8]) -> io::Result<Answer> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let address = listener.local_addr().expect("address");
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            let mut request = [0; 1024];
            let read = stream.read(&mut request).expect("request");
            assert!(request[..read].starts_with(b"GET / HTTP/1.1\r\n"));
            stream.write_all(text).expect("answer");
        });
        let answer = Connection::open(&Target::Tcp(address)).and_then(|mut c| c.call(&get("/")));
        server.join().expect("server");
        answer
    }

    #[test]
    fn answers_of_each_framing_are_read_to_their_end() {
        let keep = Answer {
            status: 200,
            keep_alive: true,
        };
        let close = Answer {
            status: 404,
            keep_alive: false,
        };
        for (text, expected) in [
            (&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"[..], keep),
            (b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\nConnection: close\r\n\r\n2\r\nhi\r\n0\r\n\r\n", close),
        ] {
            assert_eq!(answered_with(text).expect("answer"), expected);
        }
    }

    #[test]
    fn cut_and_unframed_answers_are_errors() {
        for text in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"[..],
            b"HTTP/1.1 200 OK\r\n\r\nhi",
            b"",
        ] {
            answered_with(text).expect_err("no whole answer");
        }
    }
}
