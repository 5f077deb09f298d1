//! `[scale]` of a `hob.toml` and OpenFaaS's labels, in one.

use std::ops::RangeInclusive;

use crate::{
    Scale, Timespan,
    openfaas::{Load, ScaleLabels},
};

/// Part of a target that counts, where the target is OpenFaaS's and no label says so.
const PROPORTION: f64 = 0.9;
/// Percent of the most replicas that an alert adds, where no label says so.
const FACTOR: u32 = 20;

/// How many replicas a function has, by its settings.
///
/// A key of `[scale]` that differs from its default counts before its label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scaling {
    /// Replicas that always run; 0 where the function may sleep.
    pub min: u32,
    /// Fewest while it is awake; at least 1, and `min`.
    pub least: u32,
    /// Most, never fewer than `least`; `None` where only the default says so.
    pub max: Option<u32>,
    /// What the number follows.
    pub load: Load,
    /// Load of each replica, more than 0.
    pub target: f64,
    /// How long fewer replicas must have been enough before some are stopped.
    pub window: Timespan,
    /// Percent of the most that an alert adds, 0 to 100.
    factor: u32,
}

impl Scaling {
    pub(crate) fn new(own: &Scale, labels: &ScaleLabels) -> Self {
        let default = Scale::default();
        let min = match (own.min, labels.zero) {
            (0, Some(true)) => 0,
            (0, Some(false)) => labels.min.unwrap_or(1).max(1),
            (0, None) => labels.min.unwrap_or(0),
            (own, _) => own,
        };
        let least = match own.min {
            0 => labels.min.unwrap_or(1).max(1),
            own => own,
        };
        let max = differing(own.max, default.max).or(labels.max);
        let factor = labels.factor.unwrap_or(FACTOR).min(100);
        let (load, target) = target(own, labels);
        Self {
            min,
            least,
            max: max.map(|max| max.min(Scale::MOST_REPLICAS).max(least)),
            // Whoever wants no scaling says so by this label, too.
            load: if factor == 0 { Load::Custom } else { load },
            target,
            window: differing(own.window, default.window)
                .or(labels.window)
                .map_or(default.window, |window| window.min(Scale::LONGEST_WINDOW)),
            factor,
        }
    }

    /// Most replicas that hob gives it by itself.
    pub fn most(&self) -> u32 {
        self.max.unwrap_or(Scale::default().max.max(self.least))
    }

    /// How many run while it is awake, where somebody asked for `by_hand`. Zero is zero.
    pub fn fit(&self, by_hand: u32) -> u32 {
        match by_hand {
            0 => 0,
            some => some.clamp(self.least, self.max.unwrap_or(u32::MAX)),
        }
    }

    /// Between which numbers load moves it while it is awake, where somebody asked for `by_hand`.
    pub fn range(&self, by_hand: u32) -> RangeInclusive<u32> {
        let fewest = self.fit(by_hand.max(1));
        fewest..=self.most().max(fewest)
    }

    /// The number of that range which is nearest to `replicas`.
    pub fn nearest(&self, replicas: u32, by_hand: u32) -> u32 {
        let range = self.range(by_hand);
        replicas.clamp(*range.start(), *range.end())
    }

    /// How many replicas `load` needs, as far as numbers go.
    pub fn needed(&self, load: f64) -> u32 {
        match self.load {
            Load::Custom => 0,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it saturates, and a load is never negative"
            )]
            _ => (load / self.target).ceil() as u32,
        }
    }

    /// What somebody would have asked for, `by_hand` up to now, if an alert of too many calls
    /// were his word; `now` is how many there are.
    pub fn raised(&self, by_hand: u32, now: u32) -> u32 {
        let most = self.most();
        let step = (u64::from(most) * u64::from(self.factor)).div_ceil(100);
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        match self.heeds_alerts() {
            true => now.saturating_add(step).clamp(self.least, most),
            false => by_hand,
        }
    }

    /// The same for the end of such an alert. None stay none: somebody wants that.
    pub fn lowered(&self, by_hand: u32) -> u32 {
        match self.heeds_alerts() {
            true => by_hand.min(1),
            false => by_hand,
        }
    }

    fn heeds_alerts(&self) -> bool {
        self.factor > 0 && self.least != self.most()
    }
}

/// OpenFaaS's own load is the rate, to which its target belongs where no label says otherwise.
fn target(own: &Scale, labels: &ScaleLabels) -> (Load, f64) {
    let default = Scale::default().target;
    let (load, target) = match differing(own.target, default) {
        Some(own) => (labels.load.unwrap_or(Load::Calls), f64::from(own)),
        None => {
            let usual = match labels.target {
                Some(_) => Load::Rate,
                None => Load::Calls,
            };
            let is_theirs = labels.target.is_some() || labels.load.is_some();
            let usually = if is_theirs { PROPORTION } else { 1.0 };
            let target = labels.target.unwrap_or(f64::from(default));
            let proportion = labels.proportion.unwrap_or(usually);
            (labels.load.unwrap_or(usual), target * proportion)
        }
    };
    match own.concurrency {
        // With more than a replica takes, there would never be another one.
        Some(most) if load == Load::Calls => (load, target.min(f64::from(most))),
        _ => (load, target),
    }
}

fn differing<T: PartialEq>(value: T, default: T) -> Option<T> {
    (value != default).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> ScaleLabels {
        let pairs = pairs.iter();
        let labels = pairs.map(|(k, v)| (format!("com.openfaas.scale.{k}"), (*v).to_owned()));
        ScaleLabels::read(&labels.collect()).expect("valid")
    }

    fn of(pairs: &[(&str, &str)]) -> Scaling {
        Scaling::new(&Scale::default(), &labels(pairs))
    }

    #[test]
    fn with_nothing_said_it_follows_the_calls_and_may_sleep() {
        let none = of(&[]);
        assert_eq!((none.min, none.least, none.most()), (0, 1, 20));
        assert_eq!((none.load, none.target), (Load::Calls, 50.0));
        assert_eq!([0.0, 1.0, 50.0, 51.0, 1e9].map(|load| none.needed(load)), {
            [0, 1, 1, 2, 20_000_000]
        });
    }

    #[test]
    fn labels_mean_what_openfaas_means() {
        let rate = of(&[("target", "10")]);
        assert_eq!((rate.load, rate.target), (Load::Rate, 9.0));
        let calls = of(&[("type", "capacity"), ("target-proportion", "0.5")]);
        assert_eq!((calls.load, calls.target), (Load::Calls, 25.0));
        let cpu = of(&[("type", "cpu"), ("target", "500")]);
        assert_eq!((cpu.load, cpu.needed(451.0)), (Load::Cpu, 2));
        let own_rule = of(&[("type", "ram"), ("target", "1")]);
        assert_eq!(own_rule.needed(1e6), 0);
        assert_eq!(of(&[("factor", "0")]).needed(1e6), 0);
        let windows = [("down.window", "5m")];
        assert_eq!(of(&windows).window, Timespan::from_secs(300));
        for (pairs, expected) in [
            (&[("min", "2")][..], (2, 2)),
            (&[("min", "2"), ("zero", "true")], (0, 2)),
            (&[("zero", "true")], (0, 1)),
            (&[("zero", "false")], (1, 1)),
            (&[("min", "0")], (0, 1)),
        ] {
            let scaling = of(pairs);
            assert_eq!((scaling.min, scaling.least), expected, "{pairs:?}");
        }
    }

    #[test]
    fn what_hob_toml_says_counts_before_labels() {
        let own = Scale {
            min: 1,
            max: 4,
            target: 2,
            window: Timespan::from_secs(7),
            ..Scale::default()
        };
        let said = labels(&[
            ("min", "3"),
            ("max", "9"),
            ("target", "5"),
            ("down.window", "1s"),
            ("zero", "true"),
        ]);
        let scaling = Scaling::new(&own, &said);
        assert_eq!((scaling.min, scaling.least, scaling.most()), (1, 1, 4));
        assert_eq!((scaling.load, scaling.target), (Load::Calls, 2.0));
        assert_eq!(scaling.window, own.window);
        // Key by key.
        let scaling = Scaling::new(&Scale::default(), &said);
        assert_eq!((scaling.least, scaling.most()), (3, 9));
    }

    #[test]
    fn a_target_is_never_more_than_a_replica_takes() {
        let own = Scale {
            concurrency: Some(2),
            ..Scale::default()
        };
        assert_eq!(Scaling::new(&own, &labels(&[])).target, 2.0);
        let rate = labels(&[("type", "rps")]);
        assert_eq!(Scaling::new(&own, &rate).target, 45.0);
    }

    #[test]
    fn a_number_by_hand_holds_within_min_and_max() {
        let scaling = of(&[("min", "2"), ("max", "10")]);
        assert_eq!([0, 1, 4, 11].map(|now| scaling.fit(now)), [0, 2, 4, 10]);
        assert_eq!([0, 4, 11].map(|now| scaling.range(now)), {
            [2..=10, 4..=10, 10..=10]
        });
        // More than hob would give by itself.
        assert_eq!((of(&[]).fit(50), of(&[]).range(50)), (50, 50..=50));
        assert_eq!([0, 5, 11].map(|load| scaling.nearest(load, 4)), [4, 5, 10]);
        // More at least than at most: the least counts.
        assert_eq!(of(&[("min", "9"), ("max", "3")]).max, Some(9));
        assert_eq!(of(&[("max", "1000")]).most(), Scale::MOST_REPLICAS);
    }

    #[test]
    fn an_alert_raises_by_a_part_of_the_most() {
        let scaling = of(&[("min", "2"), ("max", "10"), ("factor", "25")]);
        assert_eq!([0, 2, 9].map(|now| scaling.raised(0, now)), [3, 5, 10]);
        assert_eq!([0, 5].map(|by_hand| scaling.lowered(by_hand)), [0, 1]);
        let none = of(&[]);
        assert_eq!((none.raised(1, 1), none.raised(1, 19)), (5, 20));
        for off in [of(&[("min", "3"), ("max", "3")]), of(&[("factor", "0")])] {
            assert_eq!((off.raised(7, 9), off.lowered(7)), (7, 7));
        }
    }
}
