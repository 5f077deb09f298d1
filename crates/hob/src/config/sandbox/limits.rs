//! `[sandbox.limits]`: the most that one run may use, and what it gets if it asks for nothing.

use std::{fmt, ops::RangeInclusive, time::Duration};

use hob_model::{Cpu, Memory, Timespan, sandbox::RunMaxima};
use serde::Deserialize;

/// What the owner may ask for.
const TIMES: RangeInclusive<Timespan> =
    Timespan(Duration::from_millis(10))..=Timespan::from_secs(3600);
/// With less no interpreter starts.
const MEMORIES: RangeInclusive<Memory> = Memory(4 << 20)..=Memory(1 << 40);
const PIDS: RangeInclusive<u32> = 1..=100_000;
const OUTPUTS: RangeInclusive<Memory> = Memory(1)..=Memory(1 << 40);
const DISKS: RangeInclusive<Memory> = Memory(64 << 10)..=Memory(1 << 40);
/// A request is in memory as a whole.
const BODIES: RangeInclusive<Memory> = Memory(1 << 10)..=Memory(64 << 20);
const CORES: RangeInclusive<Cpu> = Cpu(10)..=Cpu(1_024_000);

/// Largest request, script and files together.
const BODY: Memory = Memory(4 << 20);
const CORE: Cpu = Cpu(1000);

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    time: Option<Timespan>,
    cpu: Option<Timespan>,
    memory: Option<Memory>,
    pids: Option<u32>,
    output: Option<Memory>,
    disk: Option<Memory>,
    body: Option<Memory>,
    cores: Option<Cpu>,
}

/// The same, checked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct SandboxLimits {
    /// What an order may lower, and never raise.
    pub(crate) run: RunMaxima,
    /// Largest body of a request, in bytes.
    pub(crate) body: u64,
    /// Share of the processor that a run gets at most.
    pub(crate) cores: Cpu,
}

impl Default for SandboxLimits {
    fn default() -> Self {
        Self {
            run: RunMaxima::default(),
            body: BODY.0,
            cores: CORE,
        }
    }
}

impl TryFrom<Written> for SandboxLimits {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let usual = RunMaxima::default();
        let run = RunMaxima {
            time: within("limits.time", written.time, usual.time, &TIMES)?,
            cpu: within("limits.cpu", written.cpu, usual.cpu, &TIMES)?,
            memory: within("limits.memory", written.memory, usual.memory, &MEMORIES)?,
            pids: within("limits.pids", written.pids, usual.pids, &PIDS)?,
            output: within("limits.output", written.output, usual.output, &OUTPUTS)?,
            disk: within("limits.disk", written.disk, usual.disk, &DISKS)?,
        };
        Ok(Self {
            run,
            body: within("limits.body", written.body, BODY, &BODIES)?.0,
            cores: within("limits.cores", written.cores, CORE, &CORES)?,
        })
    }
}

/// What was asked for, if it is in `range`.
pub(super) fn within<T: Copy + PartialOrd + fmt::Display>(
    key: &str,
    asked: Option<T>,
    usual: T,
    range: &RangeInclusive<T>,
) -> Result<T, String> {
    match asked {
        Some(asked) if !range.contains(&asked) => {
            let (least, most) = (range.start(), range.end());
            Err(format!("sandbox.{key} must be {least} to {most}"))
        }
        asked => Ok(asked.unwrap_or(usual)),
    }
}
