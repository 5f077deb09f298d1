use std::{cell::Cell, time::SystemTime};

/// Bytes of a date such as `Tue, 24 Nov 2026 17:13:02 GMT` (RFC 9110, section 5.6.7).
const DATE_BYTES: usize = 29;

/// The date as HTTP writes it, made once a second.
#[derive(Default)]
pub(crate) struct DateCache(Cell<Option<(u64, [u8; DATE_BYTES])>>);

impl DateCache {
    /// Now.
    pub(crate) fn now(&self) -> [u8; DATE_BYTES] {
        // HTTP has no dates before 1970, nor has a machine but by mistake.
        let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
        let second = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        match self.0.get() {
            Some((known, date)) if known == second => date,
            _ => {
                let mut date = [b' '; DATE_BYTES];
                for (to, from) in date.iter_mut().zip(httpdate::fmt_http_date(now).bytes()) {
                    *to = from;
                }
                self.0.set(Some((second, date)));
                date
            }
        }
    }
}
