//! What OpenFaaS's labels say of the number of replicas.

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;

use crate::Timespan;

const MIN: &str = "com.openfaas.scale.min";
const MAX: &str = "com.openfaas.scale.max";
/// Replicas that alerts make at most where no label says so.
const MOST_BY_ALERTS: u32 = 20;
const FACTOR: &str = "com.openfaas.scale.factor";
/// The labels of OpenFaaS's own autoscaler with what they hold; kept for it and given back.
const TARGET: &str = "com.openfaas.scale.target";
const TARGET_PROPORTION: &str = "com.openfaas.scale.target-proportion";
const ZERO: &str = "com.openfaas.scale.zero";
const ZERO_DURATION: &str = "com.openfaas.scale.zero-duration";

/// A label that means a number and is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("label `{key}` must be {wanted}, not `{text}`")]
pub struct ScaleLabelError {
    key: &'static str,
    wanted: &'static str,
    text: String,
}

/// How many replicas a function has, by its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScaleLabels {
    /// Fewest while it is awake; at least 1. Default 1.
    pub min: u32,
    /// Most, never fewer than `min`, where a label says so.
    pub max: Option<u32>,
    /// Percent of `max`, else of 20, that an alert adds, 0 to 100. Default 20.
    pub factor: u32,
}

impl Default for ScaleLabels {
    fn default() -> Self {
        Self {
            min: 1,
            max: None,
            factor: 20,
        }
    }
}

impl ScaleLabels {
    /// Reads them out of all labels.
    ///
    /// # Errors
    /// Names the label that is no number.
    pub fn read(labels: &BTreeMap<String, String>) -> Result<Self, ScaleLabelError> {
        let default = Self::default();
        let count = "a number of replicas";
        let min = of(labels, MIN, count)?.unwrap_or(default.min).max(1);
        let max = of(labels, MAX, count)?.map(|max: u32| max.max(min));
        let factor: Option<u32> = of(labels, FACTOR, "a percentage, 0 to 100")?;
        let factor = factor.unwrap_or(default.factor).min(100);
        of::<f64>(labels, TARGET, "a number")?;
        of::<f64>(labels, TARGET_PROPORTION, "a number such as 0.9")?;
        of::<bool>(labels, ZERO, "`true` or `false`")?;
        of::<Timespan>(labels, ZERO_DURATION, "a duration such as 15m")?;
        Ok(Self { min, max, factor })
    }

    /// The number nearest to `replicas` that the labels allow; zero is always allowed.
    pub fn fit(&self, replicas: u32) -> u32 {
        match replicas {
            0 => 0,
            some => some.clamp(self.min, self.max.unwrap_or(u32::MAX)),
        }
    }

    /// How many an alert of too many calls makes of `replicas`.
    pub fn raised(&self, replicas: u32) -> u32 {
        let max = self.most();
        let step = (u64::from(max) * u64::from(self.factor)).div_ceil(100);
        let step = u32::try_from(step).unwrap_or(u32::MAX);
        match self.heeds_alerts() {
            true => replicas.saturating_add(step).clamp(self.min, max),
            false => replicas,
        }
    }

    /// How many the end of such an alert makes of `replicas`. None stay none: somebody wants that.
    pub fn lowered(&self, replicas: u32) -> u32 {
        match self.heeds_alerts() && replicas > 0 {
            true => self.min,
            false => replicas,
        }
    }

    fn heeds_alerts(&self) -> bool {
        self.factor > 0 && self.min != self.most()
    }

    fn most(&self) -> u32 {
        self.max.unwrap_or(MOST_BY_ALERTS.max(self.min))
    }
}

fn of<T: FromStr>(
    labels: &BTreeMap<String, String>,
    key: &'static str,
    wanted: &'static str,
) -> Result<Option<T>, ScaleLabelError> {
    let text = labels.get(key);
    text.map(|text| {
        text.trim().parse().map_err(|_| ScaleLabelError {
            key,
            wanted,
            text: text.clone(),
        })
    })
    .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ScaleLabels, ScaleLabelError> {
        let labels = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        ScaleLabels::read(&labels.collect())
    }

    #[test]
    fn an_alert_raises_by_a_part_of_the_most() {
        let labels = read(&[(MIN, "2"), (MAX, "10"), (FACTOR, "25")]).expect("valid");
        assert_eq!([0, 2, 9].map(|now| labels.raised(now)), [3, 5, 10]);
        assert_eq!([0, 1, 4, 11].map(|now| labels.fit(now)), [0, 2, 4, 10]);
        let none = ScaleLabels::default();
        assert_eq!((none.fit(50), none.raised(1), none.raised(19)), (50, 5, 20));
        let fixed = read(&[(MIN, "3"), (MAX, "3")]).expect("valid");
        assert_eq!(fixed.raised(3), 3);
        let off = read(&[(FACTOR, "0")]).expect("valid");
        assert_eq!(off.raised(1), 1);
        // More at least than at most: the least counts.
        assert_eq!(read(&[(MIN, "9"), (MAX, "3")]).expect("valid").max, Some(9));
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (key, text) in [
            (MIN, "many"),
            (MAX, "-1"),
            (FACTOR, "20%"),
            (TARGET, "x"),
            (ZERO, "maybe"),
            (ZERO_DURATION, "soon"),
        ] {
            let error = read(&[(key, text)]).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(text), "{error}");
        }
        let paid = [(TARGET, "50"), (ZERO, "true"), (ZERO_DURATION, "15m")];
        assert_eq!(read(&paid), Ok(ScaleLabels::default()));
    }
}
