//! `[limits]`: how much callers may take of the gateway, and how many calls it lets in.

use std::{ops::RangeInclusive, time::Duration};

use hob_gateway::{CallLimits, GatewayConfig};
use hob_model::{Memory, Rate, Timespan};
use serde::Deserialize;

/// Connections that may be asked for, all together and of one address.
const CONNECTIONS: RangeInclusive<usize> = 1..=1_000_000;
/// How long a head may take, and how long nothing may be said.
const TIMES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Bytes of a body that may be asked for each second.
const RATES: RangeInclusive<u64> = 1..=1 << 30;

/// Calls under way that may be asked for.
const CALLS: RangeInclusive<usize> = 1..=1_000_000;
/// Functions in a chain that may be asked for.
const DEPTHS: RangeInclusive<u32> = 1..=1_000;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    head_timeout: Option<Timespan>,
    idle_timeout: Option<Timespan>,
    body_rate: Option<Memory>,
    calls: Option<usize>,
    depth: Option<u32>,
    rate: Option<Rate>,
}

/// The same, checked; the gateway's own defaults where nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct LimitsConfig {
    connections: Option<usize>,
    connections_per_address: Option<usize>,
    head_timeout: Option<Duration>,
    idle_timeout: Option<Duration>,
    body_rate: Option<u64>,
    /// How many calls are let in.
    pub(crate) calls: CallLimits,
}

impl TryFrom<Written> for LimitsConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let time = |key, asked: Option<Timespan>| {
            let asked = asked.map(|asked| asked.0);
            within(key, asked, &TIMES, |time| Timespan(*time).to_string())
        };
        let number = |key, asked| within(key, asked, &CONNECTIONS, usize::to_string);
        let rate = written.body_rate.map(|rate| rate.0);
        let usual = CallLimits::default();
        let calls = within("calls", written.calls, &CALLS, usize::to_string)?;
        let depth = within("depth", written.depth, &DEPTHS, u32::to_string)?;
        Ok(Self {
            connections: number("connections", written.connections)?,
            connections_per_address: number(
                "connections_per_address",
                written.connections_per_address,
            )?,
            head_timeout: time("head_timeout", written.head_timeout)?,
            idle_timeout: time("idle_timeout", written.idle_timeout)?,
            calls: CallLimits {
                calls: calls.unwrap_or(usual.calls),
                depth: depth.unwrap_or(usual.depth),
                rate: written.rate,
                ..usual
            },
            body_rate: within("body_rate", rate, &RATES, |rate| Memory(*rate).to_string())?,
        })
    }
}

impl LimitsConfig {
    /// Sizes and times of the data plane.
    pub(crate) fn gateway(&self) -> GatewayConfig {
        let usual = GatewayConfig::default();
        GatewayConfig {
            connections: self.connections.unwrap_or(usual.connections),
            connections_per_address: self
                .connections_per_address
                .unwrap_or(usual.connections_per_address),
            head_timeout: self.head_timeout.unwrap_or(usual.head_timeout),
            idle_timeout: self.idle_timeout.unwrap_or(usual.idle_timeout),
            body_rate: self.body_rate.unwrap_or(usual.body_rate),
            calls: self.calls.clone(),
            ..usual
        }
    }
}

fn within<T: PartialOrd>(
    key: &str,
    asked: Option<T>,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> Result<Option<T>, String> {
    match asked {
        Some(asked) if !range.contains(&asked) => {
            let (least, most) = (show(range.start()), show(range.end()));
            Err(format!("limits.{key} must be {least} to {most}"))
        }
        asked => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_the_owner_says_and_nothing_absurd() {
        let text = "connections = 100\nconnections_per_address = 10\nhead_timeout = \"5s\"\n\
                    idle_timeout = 90\nbody_rate = \"4Ki\"";
        let config: LimitsConfig = toml::from_str(text).expect("valid");
        let gateway = config.gateway();
        assert_eq!(
            (gateway.connections, gateway.connections_per_address),
            (100, 10)
        );
        assert_eq!(gateway.head_timeout, Duration::from_secs(5));
        assert_eq!(gateway.idle_timeout, Duration::from_secs(90));
        assert_eq!(gateway.body_rate, 4096);
        for (text, expected) in [
            ("connections = 0", "limits.connections must be 1 to 1000000"),
            (
                "head_timeout = \"0s\"",
                "limits.head_timeout must be 1s to 1h",
            ),
            ("body_rate = 0", "limits.body_rate must be 1 to 1Gi"),
            ("speed = 1", "unknown field `speed`"),
        ] {
            let error = toml::from_str::<LimitsConfig>(text).expect_err(text);
            assert!(error.message().contains(expected), "{}", error.message());
        }
    }
}
