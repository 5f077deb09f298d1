//! What OpenFaaS's labels say of the number of replicas.

use std::{collections::BTreeMap, str::FromStr};

use thiserror::Error;

use crate::Timespan;

const MIN: &str = "com.openfaas.scale.min";
const MAX: &str = "com.openfaas.scale.max";
const FACTOR: &str = "com.openfaas.scale.factor";
const TYPE: &str = "com.openfaas.scale.type";
const TARGET: &str = "com.openfaas.scale.target";
const TARGET_PROPORTION: &str = "com.openfaas.scale.target-proportion";
const ZERO: &str = "com.openfaas.scale.zero";
const ZERO_DURATION: &str = "com.openfaas.scale.zero-duration";
const WINDOW: &str = "com.openfaas.scale.down.window";

/// When a function whose label allows sleep falls asleep, where no label says so.
const DEFAULT_ZERO_DURATION: Timespan = Timespan::from_secs(15 * 60);
/// What hob's own `idle` is at least.
const SHORTEST_IDLE: Timespan = Timespan::from_secs(1);

/// A label that means a number and is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("label `{key}` must be {wanted}, not `{text}`")]
pub struct ScaleLabelError {
    key: &'static str,
    wanted: &'static str,
    text: String,
}

/// What the labels say; `None` where they say nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScaleLabels {
    /// Fewest replicas.
    pub min: Option<u32>,
    /// Most replicas.
    pub max: Option<u32>,
    /// Percent of the most that an alert adds.
    pub factor: Option<u32>,
    /// What the load is.
    pub load: Option<Load>,
    /// Load of each replica, more than 0.
    pub target: Option<f64>,
    /// Part of the target that counts, more than 0.
    pub proportion: Option<f64>,
    /// Whether it may sleep.
    pub zero: Option<bool>,
    /// How long it waits for a call before it sleeps.
    pub zero_duration: Option<Timespan>,
    /// How long fewer replicas must have been enough.
    pub window: Option<Timespan>,
}

/// What a function's number of replicas follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Calls in flight.
    Calls,
    /// Calls that begin each second.
    Rate,
    /// Thousandths of a core that its replicas use.
    Cpu,
    /// Asynchronous calls that wait or are being made.
    Queue,
    /// Something that hob does not measure: the number stays.
    Custom,
}

impl ScaleLabels {
    /// Reads them out of all labels.
    ///
    /// # Errors
    /// Names the label that is no number.
    pub fn read(labels: &BTreeMap<String, String>) -> Result<Self, ScaleLabelError> {
        let count = "a number of replicas";
        Ok(Self {
            min: of(labels, MIN, count)?,
            max: of(labels, MAX, count)?,
            factor: of(labels, FACTOR, "a percentage, 0 to 100")?,
            load: labels.get(TYPE).map(|text| Load::of_label(text.trim())),
            target: positive(labels, TARGET, "a number above 0")?,
            proportion: positive(labels, TARGET_PROPORTION, "a number such as 0.9")?,
            zero: of(labels, ZERO, "`true` or `false`")?,
            zero_duration: of(labels, ZERO_DURATION, "a duration such as 15m")?,
            window: of(labels, WINDOW, "a duration such as 2m")?,
        })
    }

    /// How long a function waits for a call before it sleeps, at least 1 s.
    pub fn idle(&self) -> Option<Timespan> {
        let said = self.zero_duration.map(|idle| idle.max(SHORTEST_IDLE));
        match self.zero {
            Some(true) => Some(said.unwrap_or(DEFAULT_ZERO_DURATION)),
            Some(false) => None,
            None => said,
        }
    }
}

impl Load {
    /// Whatever OpenFaaS does not know itself is the name of a rule that somebody made.
    fn of_label(text: &str) -> Self {
        match text {
            "capacity" => Self::Calls,
            "rps" => Self::Rate,
            "cpu" => Self::Cpu,
            "queue" => Self::Queue,
            _ => Self::Custom,
        }
    }

    /// OpenFaaS's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Calls => "capacity",
            Self::Rate => "rps",
            Self::Cpu => "cpu",
            Self::Queue => "queue",
            Self::Custom => "custom",
        }
    }
}

fn of<T: FromStr>(
    labels: &BTreeMap<String, String>,
    key: &'static str,
    wanted: &'static str,
) -> Result<Option<T>, ScaleLabelError> {
    let text = labels.get(key);
    text.map(|text| {
        let value = text.trim().parse();
        value.map_err(|_| error(key, wanted, text))
    })
    .transpose()
}

fn positive(
    labels: &BTreeMap<String, String>,
    key: &'static str,
    wanted: &'static str,
) -> Result<Option<f64>, ScaleLabelError> {
    let number: Option<f64> = of(labels, key, wanted)?;
    match (number, labels.get(key)) {
        (Some(number), Some(text)) if !(number.is_finite() && number > 0.0) => {
            Err(error(key, wanted, text))
        }
        _ => Ok(number),
    }
}

fn error(key: &'static str, wanted: &'static str, text: &str) -> ScaleLabelError {
    ScaleLabelError {
        key,
        wanted,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<ScaleLabels, ScaleLabelError> {
        let labels = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into()));
        ScaleLabels::read(&labels.collect())
    }

    #[test]
    fn labels_say_when_a_function_sleeps() {
        let idle = |pairs: &[(&str, &str)]| read(pairs).expect("valid").idle();
        let minutes = |minutes: u64| Some(Timespan::from_secs(60 * minutes));
        assert_eq!(idle(&[]), None);
        assert_eq!(idle(&[(ZERO, "true")]), minutes(15));
        assert_eq!(idle(&[(ZERO, "true"), (ZERO_DURATION, "3m")]), minutes(3));
        assert_eq!(idle(&[(ZERO_DURATION, "3m")]), minutes(3));
        assert_eq!(idle(&[(ZERO, "false"), (ZERO_DURATION, "3m")]), None);
        assert_eq!(idle(&[(ZERO_DURATION, "0s")]), Some(SHORTEST_IDLE));
    }

    #[test]
    fn every_type_is_taken() {
        for (text, load) in [
            ("capacity", Load::Calls),
            ("rps", Load::Rate),
            (" cpu ", Load::Cpu),
            ("queue", Load::Queue),
            ("custom", Load::Custom),
            ("ram", Load::Custom),
        ] {
            assert_eq!(read(&[(TYPE, text)]).expect("valid").load, Some(load));
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        for (key, text) in [
            (MIN, "many"),
            (MAX, "-1"),
            (FACTOR, "20%"),
            (TARGET, "x"),
            (TARGET, "0"),
            (TARGET_PROPORTION, "NaN"),
            (ZERO, "maybe"),
            (ZERO_DURATION, "soon"),
            (WINDOW, "long"),
        ] {
            let error = read(&[(key, text)]).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(text), "{error}");
        }
    }
}
