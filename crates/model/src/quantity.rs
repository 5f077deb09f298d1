use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a quantity was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// Not an amount of memory.
    #[error("memory `{0}` is invalid: write bytes or a unit, as in `64Mi`, `128m` or `1G`")]
    Memory(String),
    /// Not an amount of processor time.
    #[error("cpu `{0}` is invalid: write cores or thousandths of a core, as in `0.5` or `500m`")]
    Cpu(String),
    /// Not a length of time.
    #[error(
        "duration `{0}` is invalid: write seconds or a unit, as in `90`, `90s`, `5m` or `1h30m`"
    )]
    Timespan(String),
}

/// Bytes. Reads Kubernetes (`64Mi`, `1G`) and Docker (`20m`, `128mb`) notation; a lower-case `m`
/// means megabytes, never thousandths of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "String")]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = || QuantityError::Memory(text.to_owned());
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let scale: u64 = match unit {
            "" | "b" | "B" => 1,
            "k" | "kb" | "kB" | "K" | "KB" => 1_000,
            "m" | "mb" | "M" | "MB" => 1_000_000,
            "g" | "gb" | "G" | "GB" => 1_000_000_000,
            "Ki" | "KiB" => 1 << 10,
            "Mi" | "MiB" => 1 << 20,
            "Gi" | "GiB" => 1 << 30,
            _ => return Err(bad()),
        };
        let number: u64 = number.parse().map_err(|_| bad())?;
        number.checked_mul(scale).map(Self).ok_or_else(bad)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            b if b >= 1 << 30 && b.is_multiple_of(1 << 30) => write!(f, "{}Gi", b >> 30),
            b if b >= 1 << 20 && b.is_multiple_of(1 << 20) => write!(f, "{}Mi", b >> 20),
            b if b >= 1 << 10 && b.is_multiple_of(1 << 10) => write!(f, "{}Ki", b >> 10),
            b => write!(f, "{b}"),
        }
    }
}

/// Thousandths of one processor core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "String")]
pub struct Cpu(pub u32);

impl FromStr for Cpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let millis = match text.strip_suffix('m') {
            Some(millis) => millis.parse::<u32>().ok(),
            None => text
                .parse::<f64>()
                .ok()
                .filter(|cores| (0.0..=4096.0).contains(cores))
                .map(|cores| (cores * 1000.0).round() as u32),
        };
        match millis {
            Some(millis) if millis > 0 => Ok(Self(millis)),
            _ => Err(QuantityError::Cpu(text.to_owned())),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

/// A length of time. A bare number means seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Plain", into = "String")]
pub struct Timespan(pub Duration);

impl Timespan {
    /// A span of whole seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl FromStr for Timespan {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let bad = |_| QuantityError::Timespan(text.to_owned());
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::from_secs).map_err(|_| bad(()));
        }
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_| bad(()))
    }
}

impl fmt::Display for Timespan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = humantime::format_duration(self.0).to_string();
        f.write_str(&text.replace(' ', ""))
    }
}

/// A quantity in a file: a number or a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Plain {
    Whole(u64),
    Real(f64),
    Text(String),
}

macro_rules! quantity_conversions {
    ($($kind:ident),*) => {$(
        impl TryFrom<Plain> for $kind {
            type Error = QuantityError;
            fn try_from(plain: Plain) -> Result<Self, QuantityError> {
                match plain {
                    Plain::Whole(number) => number.to_string().parse(),
                    Plain::Real(number) => number.to_string().parse(),
                    Plain::Text(text) => text.parse(),
                }
            }
        }
        impl From<$kind> for String {
            fn from(value: $kind) -> String { value.to_string() }
        }
    )*};
}

quantity_conversions!(Memory, Cpu, Timespan);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_what_people_write() {
        assert_eq!("64Mi".parse(), Ok(Memory(64 << 20)));
        assert_eq!("20m".parse(), Ok(Memory(20_000_000)));
        assert_eq!("500m".parse(), Ok(Cpu(500)));
        assert_eq!("1.5".parse(), Ok(Cpu(1500)));
        assert_eq!("90".parse(), Ok(Timespan::from_secs(90)));
        assert_eq!("1h30m".parse(), Ok(Timespan::from_secs(5400)));
    }

    #[test]
    fn quantities_that_mean_nothing_are_refused() {
        for bad in ["", "Mi", "-1", "1.5Mi", "99999999999999Gi", "1x"] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
        for bad in ["", "0", "-1", "0m", "NaN", "1e9"] {
            assert!(bad.parse::<Cpu>().is_err(), "{bad}");
        }
        for bad in ["", "soon", "-5s"] {
            assert!(bad.parse::<Timespan>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_quantity_reads_back_what_it_shows() {
        for text in ["64Mi", "20000000", "1Gi"] {
            let memory: Memory = text.parse().expect("valid");
            assert_eq!(memory.to_string(), text);
        }
        let span: Timespan = "1h30m".parse().expect("valid");
        assert_eq!(span.to_string().parse(), Ok(span));
    }
}
