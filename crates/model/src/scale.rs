use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timespan;

/// How many replicas a function has, and how many calls each takes: `[scale]` of a `hob.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scale {
    /// Replicas that are always there and never sleep, 0 to 100. Default 0.
    #[schema(maximum = 100)]
    pub min: u32,
    /// Replicas at most, 1 to 100. Default 20.
    #[schema(minimum = 1, maximum = 100)]
    pub max: u32,
    /// Calls in flight for each replica, 1 to 10,000: beyond it there are more replicas.
    /// Default 50.
    #[schema(minimum = 1, maximum = 10_000)]
    pub target: u32,
    /// How long fewer replicas must have been enough before some are stopped, at most 1 h.
    /// Default 1 min.
    pub window: Timespan,
    /// Calls that one replica has at the same time at most, 1 to 10,000. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 10_000)]
    pub concurrency: Option<u32>,
    /// Calls that wait where every replica has its `concurrency`, 0 to 10,000. Default 100.
    #[schema(maximum = 10_000)]
    pub queue: u32,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            min: 0,
            max: 20,
            target: 50,
            window: Timespan::from_secs(60),
            concurrency: None,
            queue: 100,
        }
    }
}

impl Scale {
    /// Most replicas of one function.
    pub const MOST_REPLICAS: u32 = 100;
    /// Most that [`Scale::target`], [`Scale::concurrency`] and [`Scale::queue`] can be.
    pub const MOST_CALLS: u32 = 10_000;
    /// Longest [`Scale::window`].
    pub const LONGEST_WINDOW: Timespan = Timespan::from_secs(3600);

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The key that is out of its range, and what would be right.
    pub(crate) fn problem(&self) -> Option<(&'static str, &'static str)> {
        let calls = 1..=Self::MOST_CALLS;
        if !(1..=Self::MOST_REPLICAS).contains(&self.max) {
            return Some(("scale.max", "must be 1 to 100"));
        }
        if self.min > self.max {
            return Some(("scale.min", "must not be more than `scale.max`"));
        }
        if !calls.contains(&self.target) {
            return Some(("scale.target", "must be 1 to 10000"));
        }
        if self.window > Self::LONGEST_WINDOW {
            return Some(("scale.window", "must be at most 1h"));
        }
        if self.concurrency.is_some_and(|most| !calls.contains(&most)) {
            return Some(("scale.concurrency", "must be 1 to 10000"));
        }
        if self.queue > Self::MOST_CALLS {
            return Some(("scale.queue", "must be at most 10000"));
        }
        None
    }
}
