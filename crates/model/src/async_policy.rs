use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timespan;

/// How the asynchronous calls of a function are run: `[async]` of a `hob.toml`. The defaults of
/// retries are those of OpenFaaS (<https://docs.openfaas.com/openfaas-pro/retries/>).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AsyncPolicy {
    /// Calls that run at the same time, 1 to 1,000. Default 4; with 1 they run in their order.
    #[schema(minimum = 1, maximum = 1000)]
    pub concurrency: u32,
    /// How often a call is tried at most, 1 to 100. Default 10.
    #[schema(minimum = 1, maximum = 100)]
    pub attempts: u32,
    /// Status codes after which it is tried again. Default 408, 429, 500, 502, 503 and 504.
    pub codes: Vec<u16>,
    /// Least wait before the next try; doubles with each. Default 10 s.
    pub min_wait: Timespan,
    /// Longest wait before the next try, at most a day. Default 2 min.
    pub max_wait: Timespan,
}

impl Default for AsyncPolicy {
    fn default() -> Self {
        Self {
            concurrency: 4,
            attempts: 10,
            codes: vec![408, 429, 500, 502, 503, 504],
            min_wait: Timespan::from_secs(10),
            max_wait: Timespan::from_secs(120),
        }
    }
}

impl AsyncPolicy {
    /// Most calls of one function at the same time.
    pub const MOST_AT_ONCE: u32 = 1000;
    /// Most tries of one call.
    pub const MOST_ATTEMPTS: u32 = 100;
    /// Longest wait between two tries.
    pub const LONGEST_WAIT: Timespan = Timespan::from_secs(86_400);

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The key that is out of its range, and what would be right.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        if !(1..=Self::MOST_AT_ONCE).contains(&self.concurrency) {
            return Some(("async.concurrency", "must be 1 to 1000"));
        }
        if !(1..=Self::MOST_ATTEMPTS).contains(&self.attempts) {
            return Some(("async.attempts", "must be 1 to 100"));
        }
        if self.codes.iter().any(|code| !(400..=599).contains(code)) {
            return Some(("async.codes", "must be status codes of errors, 400 to 599"));
        }
        if self.max_wait > Self::LONGEST_WAIT {
            return Some(("async.max_wait", "must be at most 24h"));
        }
        if self.min_wait > self.max_wait {
            return Some(("async.min_wait", "must not be longer than `async.max_wait`"));
        }
        None
    }
}
