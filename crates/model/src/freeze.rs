use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{QuantityError, Timespan};

/// The word for a function that is never frozen.
const NEVER: &str = "never";

/// How long a replica waits for the next call before it is frozen: a time, or `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "String")]
pub enum Freeze {
    /// So long.
    After(Timespan),
    /// It stays awake until it is stopped.
    Never,
}

impl Freeze {
    /// The time, unless it is never.
    pub fn after(self) -> Option<Timespan> {
        match self {
            Self::After(time) => Some(time),
            Self::Never => None,
        }
    }

    /// Whether it is in its range.
    pub(crate) fn is_fit(self) -> bool {
        self.after().is_none_or(|time| time.0.as_secs() >= 1)
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Freeze {
    fn default() -> Self {
        Self::After(Timespan::from_secs(10))
    }
}

impl FromStr for Freeze {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        match text {
            NEVER => Ok(Self::Never),
            time => time.parse().map(Self::After),
        }
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(time) => time.fmt(f),
            Self::Never => f.write_str(NEVER),
        }
    }
}

/// In a file: seconds or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Seconds(u64),
    Text(String),
}

impl TryFrom<Written> for Freeze {
    type Error = QuantityError;

    fn try_from(written: Written) -> Result<Self, QuantityError> {
        match written {
            Written::Seconds(seconds) => Ok(Self::After(Timespan::from_secs(seconds))),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Freeze> for String {
    fn from(freeze: Freeze) -> Self {
        freeze.to_string()
    }
}
