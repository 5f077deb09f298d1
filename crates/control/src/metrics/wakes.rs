//! How long functions took to wake.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use hob_model::{
    FleetName, FunctionName, Track,
    port::Effort,
    wire::{WakePrice, Wakes},
};
use prometheus::{Error, HistogramOpts, HistogramVec, core::Collector};

use super::family::Text;

/// Upper bounds, in seconds. Finer than those of calls: from frozen it takes about a millisecond.
const BUCKETS: [f64; 14] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// So many of the last wakes of a function are remembered, for each tier: odd, so that one of
/// them is in the middle.
const REMEMBERED: usize = 9;

/// Where a function was before it was woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Its replicas stood still.
    Frozen,
    /// It had no replica, or too few.
    Stopped,
}

/// The wakes that went well: of all functions by tier, and of each since the server's start.
pub(crate) struct Wakings {
    histogram: HistogramVec,
    /// Of functions that are there and have woken.
    prices: Mutex<HashMap<FunctionName, [Price; 2]>>,
}

/// What waking from one tier took.
#[derive(Debug, Clone, Default)]
struct Price {
    count: u64,
    /// The last [`REMEMBERED`] times in milliseconds, the newest last.
    last: Vec<f64>,
}

impl Tier {
    const ALL: [Self; 2] = [Self::Frozen, Self::Stopped];

    /// Where it was, when this is what it took; `None` when it was awake.
    pub(crate) fn of(effort: Effort) -> Option<Self> {
        match effort {
            Effort::None => None,
            Effort::Thawed => Some(Self::Frozen),
            Effort::Started => Some(Self::Stopped),
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
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
        let histogram = wakings.expect("a valid name");
        for tier in Tier::ALL {
            // There from the start, so that the first wake is an increase.
            histogram.with_label_values(&[tier.as_str()]);
        }
        Self {
            histogram,
            prices: Mutex::default(),
        }
    }
}

impl Wakings {
    /// A function, or its canary, is awake, `took` after its first call.
    pub(crate) fn woke(&self, fleet: &FleetName, tier: Tier, took: Duration) {
        let histogram = self.histogram.with_label_values(&[tier.as_str()]);
        histogram.observe(took.as_secs_f64());
        if fleet.track == Track::Canary {
            // Another program than the one whose price is asked for.
            return;
        }
        let mut prices = self.prices();
        let prices = prices.entry(fleet.function.clone()).or_default();
        prices[tier as usize].add(took);
    }

    /// What it cost to wake a function so far.
    pub(crate) fn of(&self, name: &FunctionName) -> Wakes {
        let prices = self.prices();
        let shown = |tier: Tier| prices.get(name)?[tier as usize].shown();
        Wakes {
            frozen: shown(Tier::Frozen),
            stopped: shown(Tier::Stopped),
        }
    }

    /// A function is no more, or runs another program.
    pub(crate) fn forget(&self, name: &FunctionName) {
        self.prices().remove(name);
    }

    pub(super) fn write(&self, text: &mut Text) -> Result<(), Error> {
        text.add_collected(&self.histogram.collect())
    }

    fn prices(&self) -> MutexGuard<'_, HashMap<FunctionName, [Price; 2]>> {
        self.prices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Price {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        if self.last.len() == REMEMBERED {
            self.last.remove(0);
        }
        self.last.push(took.as_secs_f64() * 1000.0);
    }

    fn shown(&self) -> Option<WakePrice> {
        let last_millis = *self.last.last()?;
        let mut sorted = self.last.clone();
        sorted.sort_by(f64::total_cmp);
        Some(WakePrice {
            count: self.count,
            last_millis,
            typical_millis: sorted[sorted.len() / 2],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_has_the_price_of_each_tier() {
        let (wakings, name) = (Wakings::default(), "hello".parse().expect("valid"));
        assert_eq!(wakings.of(&name), Wakes::default());
        for millis in [900, 1, 2, 3, 4, 5, 6, 7, 8, 100] {
            wakings.woke(
                &FleetName::stable(&name),
                Tier::Frozen,
                Duration::from_millis(millis),
            );
        }
        let wakes = wakings.of(&name);
        assert_eq!(wakes.stopped, None);
        let price = wakes.frozen.expect("measured");
        assert_eq!(price.count, 10);
        assert!((price.last_millis - 100.0).abs() < 1e-6);
        // The first one is forgotten.
        assert!((price.typical_millis - 5.0).abs() < 1e-6);
        wakings.forget(&name);
        assert_eq!(wakings.of(&name), Wakes::default());
    }
}
