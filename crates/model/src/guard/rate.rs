use std::{fmt, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor, value::MapAccessDeserializer},
};
use thiserror::Error;
use utoipa::ToSchema;

use crate::Timespan;

/// How often one caller may call a function: `rate = "60/1m"`, or a table that says more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Written")]
pub struct Rate {
    /// So many calls, 1 to 1,000,000, …
    pub calls: u32,
    /// … in this time, 1 s to 1 d.
    pub per: Timespan,
    /// Calls that may come at once, 1 to 1,000,000. Default: `calls`.
    pub burst: u32,
    /// Who counts as one caller.
    pub by: RateBy,
}

/// Who counts as one caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RateBy {
    /// An address; of IPv6, a /64 network.
    #[default]
    Address,
    /// Who authenticated as the same; an address where nobody does.
    Caller,
    /// Who sends the same value of this header; an address where there is none.
    Header(Box<str>),
}

/// Why a text is no [`Rate`] or [`RateBy`].
#[derive(Debug, Clone, Error)]
pub enum RateError {
    /// It is no number of calls in a time.
    #[error("rate `{0}` is invalid: write calls and a time, as in \"60/1m\" or \"10/1s\"")]
    Limit(String),
    /// It names nobody.
    #[error("`{0}` is no kind of caller: write \"address\", \"caller\" or \"header:NAME\"")]
    By(String),
    /// A number is out of its range.
    #[error("`rate` must have 1 to 1000000 calls, a burst of 1 to 1000000, and a time of 1s to 1d")]
    Range,
    /// It would take too long until a burst may come again.
    #[error(
        "a `burst` of {burst} at {calls} calls in {per} comes back after more than 30 days: make it smaller"
    )]
    Burst {
        /// Calls at once.
        burst: u32,
        /// Calls …
        calls: u32,
        /// … in this time.
        per: Timespan,
    },
}

impl Rate {
    /// Most calls and largest burst.
    pub const MOST_CALLS: u32 = 1_000_000;
    /// Longest time.
    pub const LONGEST: Timespan = Timespan::from_secs(86_400);
    /// Longest time after which as many calls as `burst` may come at once again.
    pub const LONGEST_REFILL: Timespan = Timespan::from_secs(30 * 86_400);

    /// Time after which one more call is let in.
    pub fn interval(&self) -> Duration {
        self.per.0 / self.calls
    }
}

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Written {
    Text(String),
    Table(Table),
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Calls and a time: `60/1m`.
    limit: String,
    /// Calls that may come at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
    /// Who counts as one caller: `address`, `caller` or `header:NAME`.
    #[serde(default)]
    by: RateBy,
}

/// By hand, since serde has one message for all that fits no variant.
impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct TextOrTable;
        impl<'de> Visitor<'de> for TextOrTable {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("calls and a time, as in \"60/1m\", or a table with `limit`")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Rate, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Rate, M::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Rate::try_from(table).map_err(M::Error::custom)
            }
        }
        from.deserialize_any(TextOrTable)
    }
}

impl TryFrom<Table> for Rate {
    type Error = RateError;

    fn try_from(table: Table) -> Result<Self, RateError> {
        let rate = table.limit.parse::<Self>()?;
        let burst = table.burst.unwrap_or(rate.burst);
        if !(1..=Self::MOST_CALLS).contains(&burst) {
            return Err(RateError::Range);
        }
        let Self { calls, per, .. } = rate;
        if rate.interval() * burst > Self::LONGEST_REFILL.0 {
            return Err(RateError::Burst { burst, calls, per });
        }
        let by = table.by;
        Ok(Self { burst, by, ..rate })
    }
}

impl From<Rate> for Written {
    fn from(rate: Rate) -> Self {
        if rate.burst == rate.calls && rate.by == RateBy::Address {
            return Self::Text(rate.to_string());
        }
        Self::Table(Table {
            limit: rate.to_string(),
            burst: Some(rate.burst),
            by: rate.by,
        })
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let refuse = || RateError::Limit(text.to_owned());
        let (calls, per) = text.split_once('/').ok_or_else(refuse)?;
        let calls: u32 = calls.trim().parse().map_err(|_| refuse())?;
        let per = per.trim();
        // `60/m` as people say it.
        let per = match per.as_bytes() {
            [unit] if unit.is_ascii_alphabetic() => format!("1{per}"),
            _ => per.to_owned(),
        };
        let per: Timespan = per.parse().map_err(|_| refuse())?;
        let times = Timespan::from_secs(1)..=Self::LONGEST;
        if !(1..=Self::MOST_CALLS).contains(&calls) || !times.contains(&per) {
            return Err(RateError::Range);
        }
        Ok(Self {
            calls,
            per,
            burst: calls,
            by: RateBy::default(),
        })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.calls, self.per)
    }
}

impl TryFrom<String> for RateBy {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        let token = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        match (text.as_str(), text.split_once(':')) {
            ("address", _) => Ok(Self::Address),
            ("caller", _) => Ok(Self::Caller),
            (_, Some(("header", name))) if token(name) => {
                Ok(Self::Header(name.to_ascii_lowercase().into()))
            }
            _ => Err(RateError::By(text)),
        }
    }
}

impl From<RateBy> for String {
    fn from(by: RateBy) -> Self {
        match by {
            RateBy::Address => "address".into(),
            RateBy::Caller => "caller".into(),
            RateBy::Header(name) => format!("header:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_calls_in_a_time() {
        let rate: Rate = "60/1m".parse().expect("valid");
        assert_eq!((rate.calls, rate.burst), (60, 60));
        assert_eq!(rate.interval(), Duration::from_secs(1));
        assert_eq!(
            "10/s".parse::<Rate>().expect("valid").per,
            Timespan::from_secs(1)
        );
        for text in [
            "",
            "60",
            "0/1m",
            "x/1m",
            "1/0s",
            "1/2d",
            "1000001/1s",
            "60/",
        ] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_table_says_more_and_its_mistakes_are_named() {
        let read = |text: &str| serde_json::from_str::<Rate>(text).map_err(|e| e.to_string());
        let rate = read(r#"{"limit": "1/1d", "burst": 30, "by": "header:X-Key"}"#).expect("valid");
        assert_eq!(
            (rate.burst, rate.by.clone()),
            (30, RateBy::Header("x-key".into()))
        );
        let text = serde_json::to_string(&rate).expect("json");
        assert_eq!(read(&text), Ok(rate));
        let rate = read(r#""90/m""#).expect("valid");
        assert_eq!(serde_json::to_string(&rate).expect("json"), r#""90/1m""#);
        for (text, problem) in [
            ("5", "expected calls and a time, as in \"60/1m\""),
            (r#""often""#, "rate `often` is invalid"),
            ("{}", "missing field `limit`"),
            (r#"{"limit": "5/s", "brust": 1}"#, "unknown field `brust`"),
            (r#"{"limit": "5/s", "burst": 0}"#, "a burst of 1 to 1000000"),
            (
                r#"{"limit": "1/1d", "burst": 31}"#,
                "after more than 30 days",
            ),
            (
                r#"{"limit": "5/s", "by": "ip"}"#,
                "`ip` is no kind of caller",
            ),
            (
                r#"{"limit": "5/s", "by": "header:"}"#,
                "`header:` is no kind of caller",
            ),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(problem), "{text}: {message}");
        }
    }
}
