//! How long to wait before a call is tried again.

use std::time::{Duration, SystemTime};

use hob_model::AsyncPolicy;
use http::{HeaderMap, header};

/// Longest wait that a `Retry-After` may ask for.
pub(super) const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// The wait after so many attempts: `min_wait`, doubled with each, at most `max_wait`, and a random
/// time between `min_wait` and that, so that calls which failed together do not come together.
pub(super) fn wait(policy: &AsyncPolicy, attempts: u32) -> Duration {
    let (least, most) = (policy.min_wait.0, policy.max_wait.0);
    let doubled = 2_u32.saturating_pow(attempts.min(31));
    let span = least.saturating_mul(doubled).min(most) - least.min(most);
    // Without a random source all wait the longest.
    let random = getrandom::u32().unwrap_or(u32::MAX);
    least.min(most) + span.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

/// What the answer asks for by `Retry-After`: seconds, or a date.
pub(super) fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = httpdate::parse_http_date(text).ok()?;
            date.duration_since(SystemTime::now()).unwrap_or_default()
        }
    };
    Some(wait.min(ASKED_MAX))
}

#[cfg(test)]
mod tests {
    use hob_model::Timespan;

    use super::*;

    #[test]
    fn waits_grow_within_their_bounds() {
        let policy = AsyncPolicy {
            min_wait: Timespan::from_secs(10),
            max_wait: Timespan::from_secs(60),
            ..AsyncPolicy::default()
        };
        for (attempts, longest) in [(1, 20), (2, 40), (3, 60), (100, 60)] {
            for _ in 0..100 {
                let wait = wait(&policy, attempts).as_secs_f64();
                assert!(
                    (10.0..=f64::from(longest)).contains(&wait),
                    "{attempts}: {wait}"
                );
            }
        }
        let none = AsyncPolicy {
            min_wait: Timespan::from_secs(0),
            max_wait: Timespan::from_secs(0),
            ..policy
        };
        assert_eq!(wait(&none, 3), Duration::ZERO);
    }

    #[test]
    fn an_answer_may_ask_for_seconds_or_a_date() {
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, text.parse().expect("valid"));
            asked(&headers)
        };
        assert_eq!(asked("7"), Some(Duration::from_secs(7)));
        assert_eq!(asked("999999999"), Some(ASKED_MAX));
        assert_eq!(asked("soon"), None);
        let past = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH);
        assert_eq!(asked(&past), Some(Duration::ZERO));
        let soon = SystemTime::now() + Duration::from_secs(90);
        let wait = asked(&httpdate::fmt_http_date(soon)).expect("a date");
        assert!((80..=90).contains(&wait.as_secs()), "{wait:?}");
    }
}
