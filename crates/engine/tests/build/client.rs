//! HTTP by hand, so that a test sees every byte.

use std::{
    io::{Read, Write},
    time::Duration,
};

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection of either kind.
pub(crate) trait Stream: Read + Write {
    fn patience(&self, patience: Duration);
    fn writer(&self) -> Box<dyn Write + Send>;
}

impl Stream for std::os::unix::net::UnixStream {
    fn patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }

    fn writer(&self) -> Box<dyn Write + Send> {
        Box::new(self.try_clone().unwrap())
    }
}

impl Stream for std::net::TcpStream {
    fn patience(&self, patience: Duration) {
        self.set_read_timeout(Some(patience)).unwrap();
    }

    fn writer(&self) -> Box<dyn Write + Send> {
        Box::new(self.try_clone().unwrap())
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Sends bytes and reads one answer, leaving the connection open.
pub(crate) fn exchange(mut stream: impl Stream, request: &[u8]) -> Answer {
    stream.patience(PATIENCE);
    let (mut writer, bytes) = (stream.writer(), request.to_vec());
    // An answer may come while the request is still on its way, or because nobody reads it.
    let writing = std::thread::spawn(move || writer.write_all(&bytes));
    let answer = read_answer(&mut stream, request.starts_with(b"HEAD"));
    drop(stream);
    let _ = writing.join();
    answer
}

pub(crate) fn read_answer(stream: &mut impl Read, head_only: bool) -> Answer {
    let head = read_until(stream, b"\r\n\r\n");
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer {
        status,
        head,
        body: Vec::new(),
    };
    let length = answer
        .header("content-length")
        .map(|text| text.parse().unwrap());
    if head_only || status == 204 {
        return answer;
    }
    answer.body = match (answer.header("transfer-encoding"), length) {
        (Some(_), _) => read_chunks(stream),
        (None, Some(length)) => {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            body
        }
        (None, None) => {
            let mut body = Vec::new();
            stream.read_to_end(&mut body).unwrap();
            body
        }
    };
    answer
}

fn read_chunks(stream: &mut impl Read) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let size = read_until(stream, b"\r\n");
        let size = String::from_utf8(size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        stream.read_exact(&mut chunk).unwrap();
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return body;
        }
    }
}

fn read_until(stream: &mut impl Read, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end) {
        let mut byte = [0];
        if let Err(error) = stream.read_exact(&mut byte) {
            panic!("{error} after {:?}", String::from_utf8_lossy(&bytes));
        }
        bytes.push(byte[0]);
    }
    bytes
}
