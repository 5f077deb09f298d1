//! `[bans]`: what shuts an address out.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use hob_model::{AddressRange, BanRules, Exempt, Timespan};
use hob_sandbox::network::Subnet;
use serde::Deserialize;

/// Most failed logins and requests for nothing that may be let pass: more is not to guard at all.
const COUNT_MAX: u32 = 1_000_000;
/// Longest window that may be asked for.
const WINDOW_MAX: Duration = Duration::from_secs(24 * 3600);
/// Longest ban that may come by itself.
const TIME_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most networks in `never`: each connection is compared with all of them.
const NEVER_MAX: usize = 1_000;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    enabled: Option<bool>,
    logins: Option<u32>,
    login_window: Option<Timespan>,
    misses: Option<u32>,
    miss_window: Option<Timespan>,
    time: Option<Timespan>,
    longest: Option<Timespan>,
    never: Vec<AddressRange>,
}

/// Who is shut out, and who never is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct BansConfig {
    /// What leads to it.
    pub(crate) rules: BanRules,
    /// Never these.
    pub(crate) never: Vec<AddressRange>,
}

impl TryFrom<Written> for BansConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let usual = BanRules::default();
        let window = |key, asked, usual| span(key, asked, usual, WINDOW_MAX);
        let rules = BanRules {
            enabled: written.enabled.unwrap_or(usual.enabled),
            logins: count("logins", written.logins, usual.logins)?,
            login_window: window("login_window", written.login_window, usual.login_window)?,
            misses: count("misses", written.misses, usual.misses)?,
            miss_window: window("miss_window", written.miss_window, usual.miss_window)?,
            time: span("time", written.time, usual.time, TIME_MAX)?,
            longest: span("longest", written.longest, usual.longest, TIME_MAX)?,
        };
        if rules.longest < rules.time {
            return Err("bans.longest must not be less than bans.time".into());
        }
        if written.never.len() > NEVER_MAX {
            return Err(format!("bans.never must have at most {NEVER_MAX} networks"));
        }
        Ok(Self {
            rules,
            never: written.never,
        })
    }
}

impl BansConfig {
    /// Whom nothing shuts out: those of `never`, this machine, proxies that speak for others, and the
    /// functions in their networks.
    pub(crate) fn exempt(&self, functions: Subnet, proxies: &[AddressRange]) -> Vec<Exempt> {
        let here = "it is this machine itself";
        let loopback = [
            AddressRange::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
            AddressRange::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
        ];
        let mut exempt: Vec<_> = loopback.map(|range| Exempt { range, why: here }).into();
        exempt.extend(functions.to_string().parse().map(|range| Exempt {
            range,
            why: "functions have these addresses",
        }));
        exempt.extend(proxies.iter().map(|proxy| Exempt {
            range: *proxy,
            why: "`trusted` in the table `proxy` of the configuration has it speak for others",
        }));
        exempt.extend(self.never.iter().map(|range| Exempt {
            range: *range,
            why: "`never` in the table `bans` of the configuration names it",
        }));
        exempt
    }
}

fn count(key: &str, asked: Option<u32>, usual: u32) -> Result<u32, String> {
    let count = asked.unwrap_or(usual);
    if !(1..=COUNT_MAX).contains(&count) {
        return Err(format!("bans.{key} must be 1 to {COUNT_MAX}"));
    }
    Ok(count)
}

fn span(
    key: &str,
    asked: Option<Timespan>,
    usual: Duration,
    most: Duration,
) -> Result<Duration, String> {
    let span = asked.map_or(usual, |asked| asked.0);
    if !(Duration::from_secs(1)..=most).contains(&span) {
        return Err(format!("bans.{key} must be 1s to {}", Timespan(most)));
    }
    Ok(span)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BansConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_not_said_is_as_usual() {
        assert_eq!(read("").expect("valid"), BansConfig::default());
        let text = "logins = 3\nlogin_window = \"1h\"\nnever = [\"192.168.0.0/16\", \"::1\"]";
        let config = read(text).expect("valid");
        assert_eq!(config.rules.logins, 3);
        assert_eq!(config.rules.login_window, Duration::from_secs(3600));
        assert_eq!(config.rules.misses, BanRules::default().misses);
        assert_eq!(config.never.len(), 2);
    }

    #[test]
    fn mistakes_are_told_with_their_cure() {
        for (text, expected) in [
            ("logins = 0", "bans.logins must be 1 to 1000000"),
            (
                "miss_window = \"2d\"",
                "bans.miss_window must be 1s to 1day",
            ),
            ("time = \"0s\"", "bans.time must be 1s to 30days"),
            (
                "time = \"2d\"",
                "bans.longest must not be less than bans.time",
            ),
            ("never = [\"here\"]", "`here` is no address"),
            ("for = 1", "unknown field `for`"),
        ] {
            let message = read(text).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
    }
}
