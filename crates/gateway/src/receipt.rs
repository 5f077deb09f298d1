use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use hob_model::{CallIds, EndReason};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Names a call, in its request and its answer.
pub(crate) const CALL_ID: HeaderName = HeaderName::from_static("x-call-id");
/// When a call arrived, in nanoseconds of Unix time, in its request and its answer.
pub(crate) const START_TIME: HeaderName = HeaderName::from_static("x-start-time");
/// Where the time of a call went, in milliseconds.
pub(crate) const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
/// How a call ended, when the end was not `ok`.
pub(crate) const END: HeaderName = HeaderName::from_static("x-hob-end");

/// A usual `Server-Timing`, in bytes.
const TIMING_ROOM: usize = 64;
/// What a call leaves behind: its name and where its time went.
pub(crate) struct Receipt {
    /// When the call arrived; deadlines count from here.
    pub(crate) arrived: Instant,
    /// Time spent on starting a replica.
    pub(crate) wake: Duration,
    /// When the request went to the replica that answered.
    pub(crate) sent: Option<Instant>,
    /// The call's name, for its request and its answer.
    pub(crate) id: HeaderValue,
    /// When the call arrived, in nanoseconds of Unix time.
    pub(crate) start_time: u64,
}

impl Receipt {
    /// Opens a receipt for a call whose caller may have named it.
    pub(crate) fn begin(ids: &mut CallIds, named: Option<&[u8]>) -> Self {
        let named = named.filter(|id| CallIds::accepts(id));
        let named = named.and_then(|id| HeaderValue::from_bytes(id).ok());
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            arrived: Instant::now(),
            wake: Duration::ZERO,
            sent: None,
            id: named.unwrap_or_else(|| made(ids)),
            start_time: since_epoch
                .map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// Opens a receipt and leaves its name in the request.
    pub(crate) fn open(ids: &mut CallIds, headers: &mut HeaderMap) -> Self {
        let receipt = Self::begin(ids, headers.get(&CALL_ID).map(HeaderValue::as_bytes));
        headers.insert(CALL_ID, receipt.id.clone());
        headers.insert(START_TIME, HeaderValue::from(receipt.start_time));
        receipt
    }

    /// Puts the receipt on an answer whose head is ready now.
    pub(crate) fn stamp(self, headers: &mut HeaderMap, end: EndReason) {
        let mut timing = BytesMut::with_capacity(TIMING_ROOM);
        self.put_timing(&mut timing);
        let timing = HeaderValue::from_maybe_shared(timing.freeze());
        headers.insert(
            SERVER_TIMING,
            timing.unwrap_or(HeaderValue::from_static("-")),
        );
        headers.insert(CALL_ID, self.id);
        headers.insert(START_TIME, HeaderValue::from(self.start_time));
        if end == EndReason::Ok {
            headers.remove(END);
        } else {
            headers.insert(END, HeaderValue::from_static(end.as_str()));
        }
    }

    /// The value of [`SERVER_TIMING`] as of now. All three parts always, so that readers need
    /// not guess; `queue` is what is neither waking nor running.
    pub(crate) fn put_timing(&self, text: &mut impl BufMut) {
        let now = Instant::now();
        let sent = self.sent.unwrap_or(now);
        let queue = (sent - self.arrived).saturating_sub(self.wake);
        for (part, time) in [
            (&b"queue;dur="[..], queue),
            (b", wake;dur=", self.wake),
            (b", run;dur=", now - sent),
        ] {
            text.put_slice(part);
            put_millis(text, time);
        }
    }
}

fn made(ids: &mut CallIds) -> HeaderValue {
    HeaderValue::from_bytes(&ids.make()).unwrap_or(HeaderValue::from_static("-"))
}

/// Milliseconds with three decimals. By hand: every call comes by here, thrice.
fn put_millis(text: &mut impl BufMut, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let mut digits = *b"00000000000000000.000";
    let (mut rest, mut at, mut first) = (micros, digits.len(), digits.len() - 5);
    while at > 0 && rest > 0 {
        at -= 1;
        if digits[at] == b'.' {
            continue;
        }
        digits[at] += (rest % 10) as u8;
        rest /= 10;
        first = first.min(at);
    }
    text.put_slice(&digits[first..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn times_are_milliseconds_with_three_decimals() {
        for (micros, text) in [
            (0, "0.000"),
            (7, "0.007"),
            (1_050, "1.050"),
            (60_000_000, "60000.000"),
            (86_400_000_001, "86400000.001"),
        ] {
            let mut out = BytesMut::new();
            put_millis(&mut out, Duration::from_micros(micros));
            assert_eq!(out, text);
        }
        put_millis(&mut BytesMut::new(), Duration::MAX);
    }

    #[test]
    fn a_callers_id_is_kept_when_sane() {
        let mut ids = CallIds::default();
        for (sent, kept) in [
            ("abc-1", true),
            ("", false),
            ("a b", false),
            (&"x".repeat(129), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CALL_ID, sent.parse().unwrap());
            Receipt::open(&mut ids, &mut headers);
            assert_eq!(headers[CALL_ID] == sent, kept, "{sent}");
        }
    }
}
