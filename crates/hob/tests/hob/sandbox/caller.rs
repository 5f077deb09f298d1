//! One caller of `POST /run`, who reads event by event and may hang up at any time.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Longest wait for a byte of an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be run, as the JSON that is sent.
#[derive(Debug, Clone)]
pub(super) struct Order(Value);

/// An answer whose head has come.
pub(super) struct Caller {
    pub(super) status: u16,
    head: String,
    stream: BufReader<TcpStream>,
    /// What came of the body and is no whole event yet.
    pending: Vec<u8>,
    /// The last chunk has come.
    is_whole: bool,
}

/// One event, decoded.
#[derive(Debug)]
pub(super) enum Event {
    Stdout(String),
    Stderr(String),
    Exit(Value),
}

/// An answer that was read to its end.
#[derive(Debug, Default)]
pub(super) struct Ran {
    pub(super) status: u16,
    /// Whose name the `Worker` header has.
    pub(super) worker: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// Of the exit event; null when there was none.
    pub(super) exit: Value,
    /// The body of an answer that is no run.
    pub(super) refusal: String,
}

// === impl Order ===

impl Order {
    pub(super) fn new(language: &str, script: &str) -> Self {
        Self(json!({
            "language": language, "script": script, "end": true,
            "args": [], "env": {}, "limits": {}, "files": [],
        }))
    }

    pub(super) fn limit(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0["limits"][name] = value.into();
        self
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.0["env"][name] = value.into();
        self
    }

    pub(super) fn arg(mut self, text: &str) -> Self {
        self.0["args"].as_array_mut().unwrap().push(text.into());
        self
    }

    pub(super) fn stdin(mut self, text: &str) -> Self {
        self.0["stdin"] = text.into();
        self
    }

    pub(super) fn file(mut self, name: &str, contents: &[u8]) -> Self {
        let file = json!({
            "name": name, "content": STANDARD.encode(contents), "encoding": "base64",
        });
        self.0["files"].as_array_mut().unwrap().push(file);
        self
    }

    /// Asks for the output as it is, in place of events.
    pub(super) fn raw(mut self) -> Self {
        self.0["raw"] = true.into();
        self
    }

    /// Sends it over a connection of its own.
    pub(super) fn send(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let body = self.0.to_string();
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "POST /run HTTP/1.1\r\nHost: hob\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all((head + &body).as_bytes())?;
        Ok(stream)
    }

    /// Sends it and waits for the answer's head.
    #[track_caller]
    pub(super) fn call(&self, address: SocketAddr) -> Caller {
        Caller::new(self.send(address).expect("a connection")).expect("an answer")
    }

    /// Sends it and reads all that comes.
    #[track_caller]
    pub(super) fn run(&self, address: SocketAddr) -> Ran {
        self.call(address).finish()
    }
}

// === impl Caller ===

impl Caller {
    fn new(stream: TcpStream) -> io::Result<Self> {
        let mut stream = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
        Ok(Self {
            status: status.ok_or(io::ErrorKind::InvalidData)?,
            head,
            stream,
            pending: Vec::new(),
            is_whole: false,
        })
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = fields.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }

    /// The next event; `None` after the last.
    ///
    /// # Panics
    /// When the answer breaks off, or something else than events comes.
    #[track_caller]
    pub(super) fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.pending.windows(2).position(|two| two == b"\n\n") {
                let event: Vec<u8> = self.pending.drain(..end + 2).collect();
                return Some(event_of(str::from_utf8(&event).expect("UTF-8")));
            }
            if !self.more().expect("a whole answer") {
                let rest = String::from_utf8_lossy(&self.pending);
                assert!(rest.is_empty(), "no event: {rest}");
                return None;
            }
        }
    }

    /// Takes one chunk; false after the last.
    fn more(&mut self) -> io::Result<bool> {
        if self.is_whole {
            return Ok(false);
        }
        let mut size = String::new();
        self.stream.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim(), 16);
        let size = size.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let start = self.pending.len();
        self.pending.resize(start + size, 0);
        self.stream.read_exact(&mut self.pending[start..])?;
        self.stream.read_exact(&mut [0; 2])?;
        self.is_whole = size == 0;
        Ok(!self.is_whole)
    }

    /// Reads all that comes.
    #[track_caller]
    pub(super) fn finish(mut self) -> Ran {
        let mut ran = Ran {
            status: self.status,
            worker: self.header("worker").to_owned(),
            ..Ran::default()
        };
        if self.status != 200 {
            // Its length is of no interest: the connection is closed after it.
            let _ = self.stream.read_to_string(&mut ran.refusal);
            return ran;
        }
        while let Some(event) = self.next() {
            assert!(ran.exit.is_null(), "exit is not the last event: {event:?}");
            match event {
                Event::Stdout(text) => ran.stdout += &text,
                Event::Stderr(text) => ran.stderr += &text,
                Event::Exit(end) => ran.exit = end,
            }
        }
        ran
    }
}

fn event_of(text: &str) -> Event {
    let parts = text.strip_prefix("event: ");
    let (name, data) = parts.and_then(|rest| rest.split_once("\ndata: ")).unwrap();
    let data: Value = serde_json::from_str(data.trim_end()).expect("JSON");
    match (name, data) {
        ("stdout", Value::String(text)) => Event::Stdout(text),
        ("stderr", Value::String(text)) => Event::Stderr(text),
        ("exit", end) => Event::Exit(end),
        other => panic!("an unknown event: {other:?}"),
    }
}

// === impl Ran ===

impl Ran {
    /// Why it ended, by its exit event; empty when there was none.
    pub(super) fn reason(&self) -> &str {
        self.exit["end"].as_str().unwrap_or_default()
    }

    pub(super) fn code(&self) -> Option<i64> {
        self.exit["code"].as_i64()
    }
}
