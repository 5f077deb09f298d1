use std::{mem::MaybeUninit, time::Duration};

use bytes::BufMut;
use hob_model::EndReason;
use httparse::{Header, ParserConfig, Status};

use super::{
    framing::{Chunks, Framing, Malformed},
    request::{FIELDS_MAX, known, put_field, put_number},
};
use crate::{
    body::Answer, date::DateCache, error::GatewayError, forward, guard::Standing, receipt::Receipt,
    retry::Repeat,
};

/// How the connection to the caller goes on after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum After {
    Stay,
    Close,
}

/// What matters of a request's method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// No body follows the answer's head.
    Head,
    /// Another one that may be sent twice.
    Idempotent,
    Other,
}

impl Method {
    pub(super) fn of(method: &str) -> Self {
        match http::Method::from_bytes(method.as_bytes()) {
            Ok(http::Method::HEAD) => Self::Head,
            Ok(method) if method.is_idempotent() => Self::Idempotent,
            _ => Self::Other,
        }
    }

    /// The body is always here in the lane.
    pub(super) fn repeat(self) -> Repeat {
        match self {
            Self::Head | Self::Idempotent => Repeat::May,
            Self::Other => Repeat::Never,
        }
    }
}

/// What has to be known to write an answer's head.
pub(super) struct Context<'a> {
    pub(super) method: Method,
    pub(super) receipt: &'a Receipt,
    /// How the caller stands by the function's rate, where there is one.
    pub(super) standing: Option<&'a Standing>,
    /// For replicas that do not say their `Date`.
    pub(super) date: &'a DateCache,
    pub(super) after: After,
}

/// The head of an answer that has been written to the caller's buffer.
pub(super) struct Head {
    /// Its status code.
    pub(super) code: u16,
    /// Bytes that it took.
    pub(super) length: usize,
    pub(super) framing: Framing,
    /// Whether the replica keeps the connection, and for how long if it says so.
    pub(super) kept: Option<Option<Duration>>,
}

/// What the first bytes of an answer are.
pub(super) enum Look {
    Head(Head),
    /// An interim answer of this many bytes, which is not passed on.
    Interim(usize),
    Partial,
}

/// Reads the head of an answer and writes the one that the caller gets to `out`.
pub(super) fn pass(
    bytes: &[u8],
    context: &Context<'_>,
    out: &mut Vec<u8>,
) -> Result<Look, Malformed> {
    let mut room = [MaybeUninit::uninit(); FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let config = ParserConfig::default();
    let parsed = config.parse_response_with_uninit_headers(&mut response, bytes, &mut room);
    let Status::Complete(length) = parsed.map_err(|_| Malformed)? else {
        return Ok(Look::Partial);
    };
    let (Some(code), Some(minor)) = (response.code, response.version) else {
        return Err(Malformed);
    };
    match code {
        // Nobody asked for another protocol here.
        ..100 | 101 => return Err(Malformed),
        100..200 => return Ok(Look::Interim(length)),
        _ => {}
    }
    let hop = Hop::read(response.headers)?;
    let bodiless = context.method == Method::Head || matches!(code, 204 | 304);
    // HTTP/1.0 has no chunks: its readers disagree on what they would be.
    if hop.chunked && minor == 0 {
        return Err(Malformed);
    }
    let framing = if bodiless {
        Framing::Length(0)
    } else {
        hop.framing()
    };
    let reason = response.reason.unwrap_or_default();
    put_status(out, code, reason);
    hop.put(response.headers, (code, context.standing), out);
    if framing.is_in_chunks() {
        put_field(out, b"Transfer-Encoding", &[b"chunked"]);
    }
    if !hop.dated {
        put_field(out, b"Date", &[&context.date.now()]);
    }
    put_receipt(out, context);
    let kept = minor == 1 && !hop.closes && !matches!(framing, Framing::UntilClose(_));
    Ok(Look::Head(Head {
        code,
        length,
        framing,
        kept: kept.then_some(hop.keep_alive),
    }))
}

/// Writes an answer of hob's own; returns the bytes of its body.
pub(super) fn put_own(error: GatewayError, context: &Context<'_>, out: &mut Vec<u8>) -> u64 {
    let end = error.end();
    let (head, body) = error.into_response().into_parts();
    let Answer::Whole(bytes) = body else { return 0 };
    put_status(
        out,
        head.status.as_u16(),
        head.status.canonical_reason().unwrap_or_default(),
    );
    for (name, value) in &head.headers {
        put_field(out, name.as_str().as_bytes(), &[value.as_bytes()]);
    }
    let bytes = bytes.unwrap_or_default();
    put_number(out, b"Content-Length", bytes.len() as u64);
    put_field(out, b"Date", &[&context.date.now()]);
    if end != EndReason::Ok {
        put_field(out, b"X-Hob-End", &[end.as_str().as_bytes()]);
    }
    put_receipt(out, context);
    if context.method == Method::Head {
        return 0;
    }
    out.put_slice(&bytes);
    bytes.len() as u64
}

fn put_status(out: &mut Vec<u8>, code: u16, reason: &str) {
    out.put_slice(b"HTTP/1.1 ");
    let digit = |power| b'0' + (code / power % 10) as u8;
    out.put_slice(&[digit(100), digit(10), digit(1), b' ']);
    out.put_slice(reason.as_bytes());
    out.put_slice(b"\r\n");
}

/// The last lines of a head.
fn put_receipt(out: &mut Vec<u8>, context: &Context<'_>) {
    let Context { receipt, after, .. } = context;
    if let Some(standing) = context.standing {
        standing.put(out);
    }
    if *after == After::Close {
        put_field(out, b"Connection", &[b"close"]);
    }
    out.put_slice(b"Server-Timing: ");
    receipt.put_timing(out);
    out.put_slice(b"\r\n");
    put_field(out, b"X-Call-Id", &[receipt.id.as_bytes()]);
    put_number(out, b"X-Start-Time", receipt.start_time);
    out.put_slice(b"\r\n");
}

/// What the fields of an answer say of the connection that it came by.
#[derive(Default)]
struct Hop<'b> {
    chunked: bool,
    length: Option<u64>,
    closes: bool,
    dated: bool,
    keep_alive: Option<Duration>,
    /// Members of `Connection`: fields that are of this connection too.
    named: Vec<&'b [u8]>,
}

impl<'b> Hop<'b> {
    fn read(fields: &[Header<'b>]) -> Result<Self, Malformed> {
        let mut hop = Self::default();
        for field in fields {
            match Kind::of(field.name) {
                Kind::Plain | Kind::Gone | Kind::Standing => {}
                Kind::Date => hop.dated = true,
                Kind::KeepAlive => hop.keep_alive = keep_alive(field.value),
                Kind::Connection => hop.connection(field.value),
                Kind::Length => hop.length(field.value)?,
                Kind::Encoding if field.value.eq_ignore_ascii_case(b"chunked") && !hop.chunked => {
                    hop.chunked = true;
                }
                // A coding that hob did not ask for.
                Kind::Encoding => return Err(Malformed),
            }
        }
        Ok(hop)
    }

    fn connection(&mut self, value: &'b [u8]) {
        for member in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if member.eq_ignore_ascii_case(b"close") {
                self.closes = true;
            } else if !member.eq_ignore_ascii_case(b"keep-alive") {
                self.named.push(member);
            }
        }
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let text = str::from_utf8(value).map_err(|_| Malformed)?;
        let length = text.parse().map_err(|_| Malformed)?;
        match self.length.replace(length) {
            _ if !digits => Err(Malformed),
            Some(before) if before != length => Err(Malformed),
            _ => Ok(()),
        }
    }

    /// A body in chunks has no other length, whatever else is said (RFC 9112, section 6.3).
    fn framing(&self) -> Framing {
        match self.length {
            _ if self.chunked => Framing::Chunked(Chunks::default()),
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose(0),
        }
    }

    /// Writes the fields that go on to the caller.
    fn put(
        &self,
        fields: &[Header<'_>],
        (code, standing): (u16, Option<&Standing>),
        out: &mut Vec<u8>,
    ) {
        let mut sized = false;
        for field in fields {
            let name = field.name.as_bytes();
            let passes = match Kind::of(field.name) {
                Kind::Plain => !self
                    .named
                    .iter()
                    .any(|named| named.eq_ignore_ascii_case(name)),
                Kind::Date => true,
                // hob says how the caller stands, or else the function may.
                Kind::Standing => standing.is_none(),
                Kind::Length => {
                    !std::mem::replace(&mut sized, true) && !self.chunked && code != 204
                }
                _ => false,
            };
            if passes {
                put_field(out, name, &[field.value]);
            }
        }
    }
}

fn keep_alive(value: &[u8]) -> Option<Duration> {
    forward::keep_alive(str::from_utf8(value).ok()?)
}

/// What a field of an answer is to the gateway.
#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Length,
    Encoding,
    Connection,
    KeepAlive,
    Date,
    /// How the caller stands by a rate.
    Standing,
    /// Does not pass: of the connection, or said by the gateway alone.
    Gone,
}

impl Kind {
    /// By plain text, since every field of every answer comes by here twice.
    fn of(name: &str) -> Self {
        const KNOWN: [(&str, Kind); 15] = [
            ("content-length", Kind::Length),
            ("date", Kind::Date),
            ("connection", Kind::Connection),
            ("transfer-encoding", Kind::Encoding),
            ("keep-alive", Kind::KeepAlive),
            ("proxy-connection", Kind::Gone),
            ("proxy-authenticate", Kind::Gone),
            ("proxy-authorization", Kind::Gone),
            ("upgrade", Kind::Gone),
            ("server-timing", Kind::Gone),
            ("x-call-id", Kind::Gone),
            ("x-hob-end", Kind::Gone),
            ("x-start-time", Kind::Gone),
            ("ratelimit", Kind::Standing),
            ("ratelimit-policy", Kind::Standing),
        ];
        known(name, &KNOWN).unwrap_or(Self::Plain)
    }
}
