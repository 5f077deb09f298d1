use std::{
    io::Write,
    net::IpAddr,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::BufMut;
use hob_model::FunctionName;

use super::AccessFormat;
use crate::{digits::put_digits, guard::Fields};

/// Longest part of a path, or of a field, that a line repeats, in bytes.
const TEXT_MAX: usize = 1024;
/// What stands where more was.
const MORE: &[u8] = b"...";
/// Room for what a usual request says, in bytes.
const RECORD_ROOM: usize = 256;

/// What is seen of a request.
pub(crate) struct Seen<'a> {
    pub(crate) address: IpAddr,
    pub(crate) arrived: Instant,
    /// The same by the clock, since 1970.
    pub(crate) since_epoch: Duration,
    pub(crate) method: &'a str,
    /// In two parts, which belong together.
    pub(crate) path: [&'a str; 2],
    /// Without its `?`.
    pub(crate) query: Option<&'a str>,
    pub(crate) protocol: &'static str,
    pub(crate) fields: Fields<'a>,
}

/// What is kept of a request until its line is written.
pub(crate) struct Record {
    address: IpAddr,
    arrived: Instant,
    since_epoch: Duration,
    /// What the caller sent, as it will stand in the line …
    text: Vec<u8>,
    /// … with the answer's numbers in between here.
    cut: usize,
}

/// How a request ended.
pub(crate) struct End<'a> {
    pub(crate) status: u16,
    /// Of the answer's body.
    pub(crate) bytes: u64,
    pub(crate) function: Option<&'a FunctionName>,
    pub(crate) id: Option<&'a [u8]>,
    /// Whom the function's `auth` found.
    pub(crate) user: Option<&'a [u8]>,
}

/// How lines are written.
#[derive(Clone, Copy)]
pub(super) struct Style {
    pub(super) format: AccessFormat,
    pub(super) query: bool,
}

/// A second by the clock in both ways of writing it, since most lines have the same.
#[derive(Default)]
pub(super) struct Dates {
    second: u64,
    text: Vec<u8>,
}

// === impl Style ===

impl Style {
    pub(super) fn begin(self, seen: &Seen<'_>) -> Record {
        let mut text = Vec::with_capacity(RECORD_ROOM);
        let cut = match self.format {
            AccessFormat::Combined => self.begin_combined(seen, &mut text),
            AccessFormat::Json => self.begin_json(seen, &mut text),
        };
        Record {
            address: seen.address,
            arrived: seen.arrived,
            since_epoch: seen.since_epoch,
            text,
            cut,
        }
    }

    /// `"GET /path HTTP/1.1"`, cut, `"referer" "agent"`.
    fn begin_combined(self, seen: &Seen<'_>, text: &mut Vec<u8>) -> usize {
        text.put_u8(b'"');
        self.put_text(seen.method.as_bytes(), text);
        text.put_u8(b' ');
        self.put_target(seen, text);
        text.put_u8(b' ');
        text.put_slice(seen.protocol.as_bytes());
        text.put_u8(b'"');
        let cut = text.len();
        for field in [self.referer(seen), seen.fields.get("user-agent")] {
            text.put_slice(b" \"");
            self.put_text(field.unwrap_or(b"-"), text);
            text.put_u8(b'"');
        }
        cut
    }

    fn begin_json(self, seen: &Seen<'_>, text: &mut Vec<u8>) -> usize {
        text.put_slice(br#","method":""#);
        self.put_text(seen.method.as_bytes(), text);
        text.put_slice(br#"","path":""#);
        self.put_target(seen, text);
        text.put_slice(br#"","protocol":""#);
        text.put_slice(seen.protocol.as_bytes());
        text.put_u8(b'"');
        self.put_member(r#","referer":"#, self.referer(seen), text);
        self.put_member(r#","agent":"#, seen.fields.get("user-agent"), text);
        text.len()
    }

    fn put_target(self, seen: &Seen<'_>, text: &mut Vec<u8>) {
        for part in seen.path {
            self.put_text(part.as_bytes(), text);
        }
        if let Some(query) = seen.query.filter(|_| self.query) {
            text.put_u8(b'?');
            self.put_text(query.as_bytes(), text);
        }
    }

    /// A page's address, which has a query too.
    fn referer<'a>(self, seen: &Seen<'a>) -> Option<&'a [u8]> {
        let referer = seen.fields.get("referer")?;
        let end = referer.iter().position(|byte| *byte == b'?');
        Some(&referer[..end.filter(|_| !self.query).unwrap_or(referer.len())])
    }

    /// Writes the line.
    pub(super) fn put(self, record: &Record, end: &End<'_>, dates: &mut Dates, out: &mut Vec<u8>) {
        match self.format {
            AccessFormat::Combined => self.put_combined(record, end, dates, out),
            AccessFormat::Json => self.put_json(record, end, dates, out),
        }
        out.put_u8(b'\n');
    }

    fn put_combined(self, record: &Record, end: &End<'_>, dates: &mut Dates, out: &mut Vec<u8>) {
        // Writing to memory does not fail.
        let _ = write!(out, "{} - ", record.address);
        self.put_word(end.user, out);
        out.put_slice(b" [");
        out.put_slice(dates.common(record.since_epoch.as_secs()));
        out.put_slice(b" +0000] ");
        out.put_slice(&record.text[..record.cut]);
        out.put_u8(b' ');
        put_digits(out, end.status.into());
        out.put_u8(b' ');
        put_digits(out, end.bytes);
        out.put_slice(&record.text[record.cut..]);
        out.put_u8(b' ');
        put_seconds(record.arrived.elapsed(), out);
        out.put_u8(b' ');
        match end.function {
            Some(function) => put_name(function, out),
            None => out.put_u8(b'-'),
        }
        out.put_u8(b' ');
        self.put_word(end.id, out);
    }

    fn put_json(self, record: &Record, end: &End<'_>, dates: &mut Dates, out: &mut Vec<u8>) {
        out.put_slice(br#"{"time":""#);
        out.put_slice(dates.rfc3339(record.since_epoch.as_secs()));
        out.put_u8(b'.');
        put_padded(record.since_epoch.subsec_millis(), 100, out);
        let _ = write!(out, r#"Z","address":"{}""#, record.address);
        self.put_member(r#","user":"#, end.user, out);
        out.put_slice(&record.text);
        out.put_slice(br#","status":"#);
        put_digits(out, end.status.into());
        out.put_slice(br#","bytes":"#);
        put_digits(out, end.bytes);
        out.put_slice(br#","seconds":"#);
        put_seconds(record.arrived.elapsed(), out);
        match end.function {
            Some(function) => {
                out.put_slice(br#","function":""#);
                put_name(function, out);
                out.put_u8(b'"');
            }
            None => out.put_slice(br#","function":null"#),
        }
        self.put_member(r#","id":"#, end.id, out);
        out.put_u8(b'}');
    }

    /// A text between blanks, which has none.
    fn put_word(self, word: Option<&[u8]>, out: &mut Vec<u8>) {
        let begin = out.len();
        self.put_text(word.unwrap_or(b"-"), out);
        for byte in &mut out[begin..] {
            if *byte == b' ' {
                *byte = b'_';
            }
        }
    }

    fn put_member(self, name: &str, value: Option<&[u8]>, out: &mut Vec<u8>) {
        out.put_slice(name.as_bytes());
        match value {
            Some(value) => {
                out.put_u8(b'"');
                self.put_text(value, out);
                out.put_u8(b'"');
            }
            None => out.put_slice(b"null"),
        }
    }

    /// What somebody else chose: nothing in it can end the line, or the quotes around it.
    fn put_text(self, text: &[u8], out: &mut Vec<u8>) {
        let (text, more) = match text.get(..TEXT_MAX) {
            Some(head) if text.len() > TEXT_MAX => (head, MORE),
            _ => (text, &b""[..]),
        };
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if text.iter().all(is_plain) {
            out.put_slice(text);
        } else {
            for byte in text {
                if is_plain(byte) {
                    out.put_u8(*byte);
                } else {
                    let _ = match self.format {
                        AccessFormat::Combined => write!(out, "\\x{byte:02X}"),
                        AccessFormat::Json => write!(out, "\\u{byte:04x}"),
                    };
                }
            }
        }
        out.put_slice(more);
    }
}

// === impl Dates ===

impl Dates {
    /// `29/Nov/2026:16:27:18`
    fn common(&mut self, second: u64) -> &[u8] {
        self.of(second, |date| {
            // `Sun, 29 Nov 2026 16:27:18 GMT`
            let date = httpdate::fmt_http_date(date);
            let part = |from, to| date.get(from..to).unwrap_or_default();
            format!(
                "{}/{}/{}:{}",
                part(5, 7),
                part(8, 11),
                part(12, 16),
                part(17, 25)
            )
        })
    }

    /// `2026-11-29T16:27:18`
    fn rfc3339(&mut self, second: u64) -> &[u8] {
        self.of(second, |date| {
            let date = humantime::format_rfc3339_seconds(date).to_string();
            date.trim_end_matches('Z').to_owned()
        })
    }

    fn of(&mut self, second: u64, write: impl FnOnce(SystemTime) -> String) -> &[u8] {
        if self.second != second || self.text.is_empty() {
            self.second = second;
            self.text = write(UNIX_EPOCH + Duration::from_secs(second)).into_bytes();
        }
        &self.text
    }
}

fn put_name(function: &FunctionName, out: &mut Vec<u8>) {
    out.put_slice(function.name().as_bytes());
    out.put_u8(b'.');
    out.put_slice(function.namespace().as_bytes());
}

/// Seconds with six decimals.
fn put_seconds(time: Duration, out: &mut Vec<u8>) {
    put_digits(out, time.as_secs());
    out.put_u8(b'.');
    put_padded(time.subsec_micros(), 100_000, out);
}

/// With noughts before it, down from the digit that `power` stands for.
fn put_padded(value: u32, mut power: u32, out: &mut Vec<u8>) {
    while power > 0 {
        out.put_u8(b'0' + (value / power % 10) as u8);
        power /= 10;
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn line(format: AccessFormat, query: bool, path: &str, agent: &[u8]) -> String {
        let mut fields = HeaderMap::new();
        let agent = http::HeaderValue::from_bytes(agent).expect("a value");
        fields.insert("user-agent", agent);
        let referer = http::HeaderValue::from_static("http://a/b?secret=1");
        fields.insert("referer", referer);
        let style = Style { format, query };
        let record = style.begin(&Seen {
            address: "2001:db8::1".parse().expect("an address"),
            arrived: Instant::now() + Duration::from_secs(3600),
            since_epoch: Duration::from_millis(1_795_969_638_042),
            method: "GET",
            path: ["/function/hello", path],
            query: Some("token=x"),
            protocol: "HTTP/1.1",
            fields: Fields::Map(&fields),
        });
        let end = End {
            status: 200,
            bytes: 12,
            function: Some(&"hello".parse().expect("a name")),
            id: Some(b"an id"),
            user: Some(b"Ada \"L\""),
        };
        let mut out = Vec::new();
        style.put(&record, &end, &mut Dates::default(), &mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn a_line_is_as_apache_and_nginx_write_it() {
        assert_eq!(
            line(AccessFormat::Combined, false, "/x", b"curl"),
            "2001:db8::1 - Ada_\\x22L\\x22 [29/Nov/2026:16:27:18 +0000] \"GET /function/hello/x \
             HTTP/1.1\" 200 12 \"http://a/b\" \"curl\" 0.000000 hello.openfaas-fn an_id\n"
        );
        let with_query = line(AccessFormat::Combined, true, "/x", b"curl");
        assert!(with_query.contains("/x?token=x HTTP/1.1\" 200 12 \"http://a/b?secret=1\""));
    }

    #[test]
    fn a_line_is_json_where_that_is_asked_for() {
        assert_eq!(
            line(AccessFormat::Json, false, "/x", b"curl"),
            "{\"time\":\"2026-11-29T16:27:18.042Z\",\"address\":\"2001:db8::1\",\
             \"user\":\"Ada \\u0022L\\u0022\",\"method\":\"GET\",\"path\":\"/function/hello/x\",\
             \"protocol\":\"HTTP/1.1\",\"referer\":\"http://a/b\",\"agent\":\"curl\",\
             \"status\":200,\"bytes\":12,\"seconds\":0.000000,\
             \"function\":\"hello.openfaas-fn\",\"id\":\"an id\"}\n"
        );
    }

    #[test]
    fn nobody_can_forge_a_line_or_make_it_long() {
        for format in [AccessFormat::Combined, AccessFormat::Json] {
            let forged = line(format, false, "\n\r\u{1b}[31m\u{85}\"\\", b"\t\xff\"");
            assert_eq!(forged.matches('\n').count(), 1, "{forged}");
            assert!(
                forged
                    .bytes()
                    .all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\n')
            );
            let long = line(format, false, &"a".repeat(100_000), &[b'a'; 50_000]);
            assert!(long.len() < 3000 && long.contains("aaa..."));
        }
    }
}
