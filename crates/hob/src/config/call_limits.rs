//! `[limits]`: how many calls a server lets in.

use hob_gateway::CallLimits;
use hob_model::Rate;
use serde::Deserialize;

/// Most calls under way that may be asked for.
const CALLS_MAX: usize = 1_000_000;
/// Deepest chain of functions that may be asked for.
const DEPTH_MAX: u32 = 1_000;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    calls: Option<usize>,
    depth: Option<u32>,
    rate: Option<Rate>,
}

/// The table, checked.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "Written")]
pub(super) struct Table(pub(super) CallLimits);

impl TryFrom<Written> for Table {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let usual = CallLimits::default();
        let limits = CallLimits {
            calls: written.calls.unwrap_or(usual.calls),
            depth: written.depth.unwrap_or(usual.depth),
            rate: written.rate,
        };
        if !(1..=CALLS_MAX).contains(&limits.calls) {
            return Err(format!("limits.calls must be 1 to {CALLS_MAX}"));
        }
        if !(1..=DEPTH_MAX).contains(&limits.depth) {
            return Err(format!("limits.depth must be 1 to {DEPTH_MAX}"));
        }
        Ok(Self(limits))
    }
}
