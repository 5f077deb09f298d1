use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use thiserror::Error;

use crate::Timespan;

/// A point in time as people and programs name one: `2026-11-22T14:08:03Z`, or how long ago it
/// was: `5m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// By the clock.
    At(SystemTime),
    /// So long before whenever it is asked for.
    Ago(Timespan),
}

/// Neither a time nor a span.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is no time: use 5m or 1h30m for how long ago, or 2026-11-22T14:08:03Z")]
pub struct MomentError(String);

impl Moment {
    /// When that is; what lies before 1970 is its beginning.
    pub fn time(self) -> SystemTime {
        match self {
            Self::At(time) => time,
            Self::Ago(Timespan(span)) => {
                let time = SystemTime::now().checked_sub(span);
                time.map_or(SystemTime::UNIX_EPOCH, |time| {
                    time.max(SystemTime::UNIX_EPOCH)
                })
            }
        }
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    /// Reads RFC 3339, also with a space for the `T` and with no zone, which is UTC then.
    fn from_str(text: &str) -> Result<Self, MomentError> {
        if let Ok(span) = text.parse() {
            return Ok(Self::Ago(span));
        }
        let time = by_the_clock(text).map(Self::At);
        time.ok_or_else(|| MomentError(text.to_owned()))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(time) => {
                let time = (*time).max(SystemTime::UNIX_EPOCH);
                humantime::format_rfc3339(time).fmt(f)
            }
            Self::Ago(span) => span.fmt(f),
        }
    }
}

fn by_the_clock(text: &str) -> Option<SystemTime> {
    let zone = text.len().checked_sub("+00:00".len());
    let zone = zone.and_then(|at| text.split_at_checked(at));
    match zone.and_then(|(local, zone)| Some((local, offset(zone)?))) {
        Some((local, (offset, is_east))) => {
            let time = humantime::parse_rfc3339_weak(local).ok()?;
            if is_east {
                time.checked_sub(offset)
            } else {
                time.checked_add(offset)
            }
        }
        None => humantime::parse_rfc3339_weak(text).ok(),
    }
}

/// Reads `+02:00`, and whether it lies east of Greenwich. A plus that was not escaped in a query
/// comes as a space.
fn offset(zone: &str) -> Option<(Duration, bool)> {
    let is_east = match zone.chars().next()? {
        '+' | ' ' => true,
        '-' => false,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(hours) || !digits(minutes) {
        return None;
    }
    let (hours, minutes): (u64, u64) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60)
        .then(|| (Duration::from_secs(hours * 3600 + minutes * 60), is_east))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_has_many_spellings() {
        for text in [
            "2026-11-22T14:08:03.5Z",
            "2026-11-22T14:08:03.500000",
            "2026-11-22 14:08:03.5",
            "2026-11-22T16:08:03.5+02:00",
            "2026-11-22T16:08:03.5 02:00",
            "2026-11-22T08:38:03.500-05:30",
        ] {
            let moment: Moment = text.parse().expect(text);
            assert_eq!(
                moment.to_string(),
                "2026-11-22T14:08:03.500000000Z",
                "{text}"
            );
        }
    }

    #[test]
    fn a_span_counts_back_from_now() {
        let moment: Moment = "1h30m".parse().expect("valid");
        assert_eq!(moment, Moment::Ago(Timespan::from_secs(5_400)));
        assert_eq!(moment.to_string().parse(), Ok(moment));
        assert!(moment.time() < SystemTime::now());
        let moment: Moment = "9000years".parse().expect("valid");
        assert_eq!(moment.time(), SystemTime::UNIX_EPOCH);
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-13-22T14:08:03Z",
            "-5m",
            "14:08:03",
            "ä+00:00",
        ] {
            let refusal = text.parse::<Moment>().expect_err(text);
            assert!(refusal.to_string().contains(text), "{refusal}");
        }
    }
}
