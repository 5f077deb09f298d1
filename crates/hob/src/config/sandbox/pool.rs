//! `[sandbox.pool]`: how many sandboxes there are, and who waits for one.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use hob_engine::pool::{LocalPoolConfig, local::MAX_SIZE};
use hob_model::Timespan;
use serde::Deserialize;

use super::limits::within;

/// Sandboxes that may be asked for.
const SIZES: RangeInclusive<usize> = 1..=MAX_SIZE;
/// Callers that may be let wait.
const QUEUES: RangeInclusive<usize> = 0..=100_000;
/// How long a lease may outlive the time limit of its run.
const LEASES: RangeInclusive<Timespan> = Timespan::from_secs(1)..=Timespan::from_secs(3600);

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    size: Option<usize>,
    queue: Option<usize>,
    lease: Option<Timespan>,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct PoolConfig {
    /// Most sandboxes at once.
    pub(crate) size: usize,
    /// Most callers that wait for one.
    pub(crate) queue: usize,
    /// How long a lease outlives the time limit of its run.
    pub(crate) lease: Duration,
}

impl Default for PoolConfig {
    fn default() -> Self {
        let usual = LocalPoolConfig::new(PathBuf::new());
        Self {
            size: usual.size.min(*SIZES.end()),
            queue: usual.queue,
            lease: usual.lease,
        }
    }
}

impl TryFrom<Written> for PoolConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let usual = Self::default();
        let lease = within("pool.lease", written.lease, Timespan(usual.lease), &LEASES)?;
        Ok(Self {
            size: within("pool.size", written.size, usual.size, &SIZES)?,
            queue: within("pool.queue", written.queue, usual.queue, &QUEUES)?,
            lease: lease.0,
        })
    }
}
