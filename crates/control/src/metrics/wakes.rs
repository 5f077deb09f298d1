//! How long functions took to wake.

use std::time::Duration;

use prometheus::{Error, HistogramOpts, HistogramVec, core::Collector};

use super::family::Text;

/// Upper bounds, in seconds. Finer than those of calls: from a tier that is nearly awake it takes
/// about a millisecond.
const BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Where a function was before it was woken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tier {
    /// It had no replica.
    Stopped,
}

/// The wakes that went well, by tier.
pub(crate) struct Wakings(HistogramVec);

impl Tier {
    const ALL: [Self; 1] = [Self::Stopped];

    fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
        }
    }
}

impl Default for Wakings {
    fn default() -> Self {
        let help = "Time from the first call of a sleeping function until its replicas were ready.";
        let options = HistogramOpts::new("hob_wake_seconds", help).buckets(BUCKETS.to_vec());
        let wakings = HistogramVec::new(options, &["tier"]);
        // Fails only for names that are not valid, and these are written here.
        let wakings = wakings.expect("a valid name");
        for tier in Tier::ALL {
            // There from the start, so that the first wake is an increase.
            wakings.with_label_values(&[tier.as_str()]);
        }
        Self(wakings)
    }
}

impl Wakings {
    /// A function is awake, `took` after its first call.
    pub(crate) fn woke(&self, tier: Tier, took: Duration) {
        let histogram = self.0.with_label_values(&[tier.as_str()]);
        histogram.observe(took.as_secs_f64());
    }

    pub(super) fn write(&self, text: &mut Text) -> Result<(), Error> {
        text.add_collected(&self.0.collect())
    }
}
