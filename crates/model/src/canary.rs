use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Revision;

/// A revision that answers a share of a function's calls, so that its owner can see how it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Canary {
    /// What answers those calls.
    pub revision: Revision,
    /// Which of the function's revisions that is.
    pub number: u32,
    /// How many of the calls.
    pub share: Share,
    /// How many replicas it has while it is awake; at least 1, unless nothing is to be started.
    pub replicas: u32,
}

/// A part of all calls: over 0 and under 100 %, in hundredths of a percent. Written `10%`, `0.5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u16);

/// Why a share was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("share `{0}` is invalid: write percents over 0 and under 100, as in `10%` or `0.5%`")]
pub struct ShareError(String);

// === impl Share ===

impl Share {
    /// Hundredths of a percent in a whole.
    const WHOLE: u16 = 10_000;

    /// From hundredths of a percent.
    ///
    /// # Errors
    /// When it is none or all of the calls.
    pub fn new(hundredths: u16) -> Result<Self, ShareError> {
        match hundredths {
            1..Self::WHOLE => Ok(Self(hundredths)),
            _ => Err(ShareError(percents(hundredths))),
        }
    }

    /// In hundredths of a percent, 1 to 9,999.
    pub fn hundredths(self) -> u16 {
        self.0
    }

    /// Over 0 and under 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE)
    }

    /// Whether a call is of this share for which `draw` was drawn, of all 64-bit numbers.
    pub fn takes(self, draw: u64) -> bool {
        draw % u64::from(Self::WHOLE) < u64::from(self.0)
    }

    /// So many of `replicas`, rounded up; at least 1.
    pub fn of(self, replicas: u32) -> u32 {
        let part = u64::from(replicas) * u64::from(self.0);
        let rounded = part.div_ceil(u64::from(Self::WHOLE)).max(1);
        u32::try_from(rounded).unwrap_or(replicas)
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&percents(self.0))
    }
}

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let bad = || ShareError(text.to_owned());
        let number = text.strip_suffix('%').ok_or_else(bad)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| match text.len() {
            1 | 2 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<u16>().ok(),
            _ => None,
        };
        let tenth = if fraction.len() == 1 { 10 } else { 1 };
        let hundredths = digits(whole).zip(digits(fraction));
        let hundredths = hundredths.map(|(whole, fraction)| whole * 100 + fraction * tenth);
        hundredths
            .and_then(|hundredths| Self::new(hundredths).ok())
            .ok_or_else(bad)
    }
}

impl TryFrom<String> for Share {
    type Error = ShareError;

    fn try_from(text: String) -> Result<Self, ShareError> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

fn percents(hundredths: u16) -> String {
    match (hundredths / 100, hundredths % 100) {
        (whole, 0) => format!("{whole}%"),
        (whole, tenths) if tenths % 10 == 0 => format!("{whole}.{}%", tenths / 10),
        (whole, fraction) => format!("{whole}.{fraction:02}%"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_reads_back_what_it_shows() {
        for (text, hundredths) in [
            ("10%", 1_000),
            ("0.5%", 50),
            ("0.05%", 5),
            ("0.01%", 1),
            ("12.25%", 1_225),
            ("99.99%", 9_999),
        ] {
            let share: Share = text.parse().expect(text);
            assert_eq!(share.hundredths(), hundredths);
            assert_eq!(share.to_string(), text);
        }
        assert_eq!("5.0%".parse(), "5%".parse::<Share>());
    }

    #[test]
    fn none_and_all_are_no_share_and_neither_is_a_bare_number() {
        for bad in [
            "", "%", "10", "0%", "0.00%", "100%", "-1%", "+1%", ".5%", "5.%", "1.234%", "1e1%",
            "NaN%", "10 %", "10%%",
        ] {
            assert!(bad.parse::<Share>().is_err(), "{bad}");
        }
    }

    #[test]
    fn it_takes_its_part_of_all_draws() {
        let share: Share = "12.25%".parse().expect("valid");
        let taken = (0..10_000).filter(|draw| share.takes(*draw)).count();
        assert_eq!(taken, 1_225);
    }

    #[test]
    fn a_share_of_the_replicas_is_at_least_one_of_them() {
        let share: Share = "10%".parse().expect("valid");
        let of = [0, 1, 10, 11, 100].map(|replicas| share.of(replicas));
        assert_eq!(of, [1, 1, 1, 2, 10]);
    }
}
