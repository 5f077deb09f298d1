use std::time::Duration;

use crate::AddressRange;

/// What shuts an address out, and for how long. Half of it slows its answers down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanRules {
    /// Whether conduct leads to anything. What the owner has banned himself is banned all the same.
    pub enabled: bool,
    /// Failed logins within the window below. At least 1; default 10.
    pub logins: u32,
    /// From the first of them to the last. Default 10 min.
    pub login_window: Duration,
    /// Requests for what is not there within the window below. At least 1; default 200.
    pub misses: u32,
    /// From the first of them to the last. Default 1 min.
    pub miss_window: Duration,
    /// How long the first ban takes; each further one within a day takes twice as long. Default 1 h.
    pub time: Duration,
    /// Longest ban. Default 24 h.
    pub longest: Duration,
}

impl Default for BanRules {
    fn default() -> Self {
        Self {
            enabled: true,
            logins: 10,
            login_window: Duration::from_secs(600),
            misses: 200,
            miss_window: Duration::from_secs(60),
            time: Duration::from_secs(3600),
            longest: Duration::from_secs(24 * 3600),
        }
    }
}

/// Addresses that are never shut out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exempt {
    /// These.
    pub range: AddressRange,
    /// In words that go on after "cannot be banned: ".
    pub why: &'static str,
}
