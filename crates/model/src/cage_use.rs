use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How many calls a cage serves: `sandbox` of a `hob.toml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CageUse {
    /// One call after another, and several at the same time.
    #[default]
    Shared,
    /// One, and then it is destroyed with all that is in it: no call finds anything of another.
    PerCall,
}

impl CageUse {
    /// The word that users write for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::PerCall => "per-call",
        }
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for CageUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for CageUse {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Shared, Self::PerCall]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or_else(|| format!("`{text}` is unknown: use `per-call` or `shared`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_as_it_is_written() {
        for known in [CageUse::Shared, CageUse::PerCall] {
            assert_eq!(known.to_string().parse(), Ok(known));
            let json = serde_json::to_string(&known).expect("JSON");
            assert_eq!(json, format!("\"{known}\""));
        }
        let error = "once".parse::<CageUse>().expect_err("unknown");
        assert_eq!(error, "`once` is unknown: use `per-call` or `shared`");
    }
}
