//! As much of HTTP/1.1 as a function needs.

use std::io::{self, BufRead, Read, Write};

/// Bytes of a request's first line and headers.
const MAX_HEAD: u64 = 64 * 1024;

/// A call.
#[allow(dead_code)] // not every handler looks at every field
pub struct Request {
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What stands after the `?`, as it was sent.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub(crate) keep: bool,
}

/// An answer. `"text".into()`, `vec![1, 2].into()` and `Response::new(404, "no such book")`.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

#[allow(dead_code)]
impl Request {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut all = self.headers.iter();
        all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// `None` when the caller is done. `InvalidData` when it does not speak HTTP.
    pub(crate) fn read(reader: &mut impl BufRead, writer: &mut impl Write) -> io::Result<Option<Self>> {
        let mut head = reader.by_ref().take(MAX_HEAD);
        let mut first = line(&mut head)?;
        if first.is_empty() && head.limit() == MAX_HEAD {
            return Ok(None);
        }
        while first.is_empty() && head.limit() > 0 {
            first = line(&mut head)?; // some clients end a body with a line break
        }
        let mut parts = first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return bad("bad request line");
        };
        if !matches!(version, "HTTP/1.1" | "HTTP/1.0") {
            return bad("unknown version of HTTP");
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (method, path, query) = (method.to_owned(), path.to_owned(), query.to_owned());
        let mut keep = version == "HTTP/1.1";
        let headers = read_headers(&mut head)?;
        let mut request = Self { method, path, query, headers, body: Vec::new(), keep };
        keep &= !request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        request.keep = keep;
        if request.header("expect").is_some() {
            writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        request.body = request.read_body(reader)?;
        Ok(Some(request))
    }

    fn read_body(&self, reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
        let named = |name: &'static str| self.headers.iter().filter(move |(key, _)| key == name);
        let (lengths, codings) = (named("content-length").count(), named("transfer-encoding").count());
        let mut body = Vec::new();
        match (lengths, codings) {
            (0, 0) => {}
            (1, 0) => {
                let text = self.header("content-length").unwrap_or_default();
                let Some(length) = digits(text, 10) else { return bad("bad content-length") };
                read_exactly(reader, length, &mut body)?;
            }
            (0, 1) if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) => {
                loop {
                    let size = line(&mut reader.by_ref().take(256))?;
                    let size = size.split(';').next().unwrap_or_default().trim();
                    let Some(size) = digits(size, 16) else { return bad("bad chunk size") };
                    if size == 0 {
                        while !line(&mut reader.by_ref().take(MAX_HEAD))?.is_empty() {}
                        break;
                    }
                    read_exactly(reader, size, &mut body)?;
                    if !line(&mut reader.by_ref().take(2))?.is_empty() {
                        return bad("bad chunk");
                    }
                }
            }
            _ => return bad("more than one length of the body"),
        }
        Ok(body)
    }
}

impl Response {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let text = ("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned());
        Self { status, headers: vec![text], body: body.into() }
    }

    pub(crate) fn write(&self, writer: &mut impl Write, head_only: bool, keep: bool) -> io::Result<()> {
        let mut out = format!("HTTP/1.1 {} \r\n", self.status);
        for (name, value) in &self.headers {
            if !name.contains(['\r', '\n']) && !value.contains(['\r', '\n']) {
                out.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let empty = matches!(self.status, 204 | 304);
        if !empty {
            out.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        out.push_str(if keep { "\r\n" } else { "Connection: close\r\n\r\n" });
        let mut out = out.into_bytes();
        if !empty && !head_only {
            out.extend_from_slice(&self.body);
        }
        writer.write_all(&out)
    }
}

impl From<String> for Response {
    fn from(text: String) -> Self {
        Self::new(200, text)
    }
}

impl From<&str> for Response {
    fn from(text: &str) -> Self {
        Self::new(200, text)
    }
}

impl From<Vec<u8>> for Response {
    fn from(body: Vec<u8>) -> Self {
        let binary = ("Content-Type".to_owned(), "application/octet-stream".to_owned());
        Self { status: 200, headers: vec![binary], body }
    }
}

fn read_headers(head: &mut impl BufRead) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = line(head)?;
        if line.is_empty() {
            return Ok(headers);
        }
        match line.split_once(':') {
            Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            _ => return bad("bad header"),
        }
    }
}

fn line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes)? == 0 {
        return Ok(String::new());
    }
    if bytes.pop() != Some(b'\n') {
        return bad("line too long, or broken off");
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).or_else(|_| bad("a line that is no UTF-8"))
}

fn digits(text: &str, radix: u32) -> Option<u64> {
    let only = !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    only.then(|| u64::from_str_radix(text, radix).ok()).flatten()
}

fn read_exactly(reader: &mut impl BufRead, length: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = reader.by_ref().take(length).read_to_end(body)? as u64;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn bad<T>(line: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidData, line))
}
