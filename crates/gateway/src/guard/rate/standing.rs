use std::time::Duration;

use bytes::{BufMut, BytesMut};
use hob_model::Rate;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::digits::put_digits;

/// The rule, and how the caller stands by it: the IETF's draft "RateLimit header fields for HTTP",
/// version 10.
pub(crate) const POLICY: &str = "RateLimit-Policy";
pub(crate) const STANDING: &str = "RateLimit";
/// Room for the value of either, in bytes.
const VALUE_ROOM: usize = 48;

/// How a caller stands, as it is told with each answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    calls: u32,
    /// Seconds.
    per: u64,
    left: u32,
    /// Seconds.
    reset: u64,
}

impl Standing {
    /// `left` calls may come at once, and `reset` from now on it is better: for who has none left,
    /// one may come; else as many as ever.
    pub(super) fn new(rate: &Rate, left: u32, reset: Duration) -> Self {
        Self {
            calls: rate.calls,
            per: seconds(rate.per.0),
            left,
            reset: seconds(reset),
        }
    }

    /// After how many seconds things are better.
    pub(crate) fn seconds(&self) -> u64 {
        self.reset
    }

    /// Tells the caller, and nobody else does.
    pub(crate) fn stamp(&self, headers: &mut HeaderMap) {
        for (name, put) in Self::FIELDS {
            let mut value = BytesMut::with_capacity(VALUE_ROOM);
            put(self, &mut value);
            let value = HeaderValue::from_maybe_shared(value.freeze());
            if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) {
                headers.insert(name, value);
            }
        }
    }

    /// The same, as lines of a head.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        put_line(out, POLICY, |out| self.put_policy(out));
        put_line(out, STANDING, |out| self.put_standing(out));
    }

    #[expect(
        clippy::type_complexity,
        reason = "the two fields with who writes them"
    )]
    const FIELDS: [(&'static str, fn(&Self, &mut BytesMut)); 2] = [
        (POLICY, Self::put_policy::<BytesMut>),
        (STANDING, Self::put_standing::<BytesMut>),
    ];

    fn put_policy<B: BufMut>(&self, out: &mut B) {
        put_item(out, [(b"q", self.calls.into()), (b"w", self.per)]);
    }

    fn put_standing<B: BufMut>(&self, out: &mut B) {
        put_item(out, [(b"r", self.left.into()), (b"t", self.reset)]);
    }

    #[cfg(test)]
    pub(super) fn left(&self) -> u32 {
        self.left
    }
}

fn put_line(out: &mut Vec<u8>, name: &str, value: impl FnOnce(&mut Vec<u8>)) {
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    value(out);
    out.put_slice(b"\r\n");
}

/// An item of a structured field (RFC 9651) with its parameters.
fn put_item(out: &mut impl BufMut, parameters: [(&[u8; 1], u64); 2]) {
    out.put_slice(b"\"default\"");
    for (name, value) in parameters {
        out.put_u8(b';');
        out.put_slice(name);
        out.put_u8(b'=');
        put_digits(out, value);
    }
}

/// Whole ones, and rather one too many.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
