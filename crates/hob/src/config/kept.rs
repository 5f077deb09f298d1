//! How much of everything a server may be asked to keep.

use hob_control::QueueLimits;
use hob_model::Memory;

use crate::exit::Failure;

/// Largest body of an asynchronous call that may be asked for: it is in memory as a whole.
const ASYNC_BODY_MAX: Memory = Memory(64 << 20);
/// Most calls in the queue that may be asked for, at a hundred bytes of memory each.
const QUEUE_CALLS_MAX: u64 = 10_000_000;
/// Revisions of a function that are kept.
pub(crate) const KEEP_REVISIONS: u32 = 5;
/// Most that may be asked for: each keeps its bundle or layers on the disk.
const KEEP_REVISIONS_MAX: u32 = 100;
/// Least that the logs of a function may be kept to: a few lines of each replica have to fit.
const LOG_QUOTA_MIN: Memory = Memory(1 << 20);

pub(super) fn queue(
    body: Option<Memory>,
    calls: Option<u64>,
    bytes: Option<Memory>,
) -> anyhow::Result<QueueLimits> {
    let usual = QueueLimits::default();
    let limits = QueueLimits {
        body: body.map_or(usual.body, |body| body.0),
        calls: calls.unwrap_or(usual.calls),
        bytes: bytes.map_or(usual.bytes, |bytes| bytes.0),
        ..usual
    };
    if limits.body > ASYNC_BODY_MAX.0 {
        let message = format!("async_body must be at most {ASYNC_BODY_MAX}");
        return Err(Failure::usage(message).into());
    }
    if !(1..=QUEUE_CALLS_MAX).contains(&limits.calls) {
        let message = format!("queue_calls must be 1 to {QUEUE_CALLS_MAX}");
        return Err(Failure::usage(message).into());
    }
    if limits.bytes < limits.body {
        let message = "queue_bytes must not be less than async_body";
        return Err(Failure::usage(message).into());
    }
    Ok(limits)
}

pub(super) fn keep_revisions(asked: Option<u32>) -> anyhow::Result<u32> {
    let keep = asked.unwrap_or(KEEP_REVISIONS);
    if !(1..=KEEP_REVISIONS_MAX).contains(&keep) {
        let message = format!("keep_revisions must be 1 to {KEEP_REVISIONS_MAX}");
        return Err(Failure::usage(message).into());
    }
    Ok(keep)
}

pub(super) fn log_quota(asked: Option<Memory>) -> anyhow::Result<Option<u64>> {
    match asked {
        Some(quota) if quota < LOG_QUOTA_MIN => {
            let message = format!("log_quota must be at least {LOG_QUOTA_MIN}");
            Err(Failure::usage(message).into())
        }
        quota => Ok(quota.map(|quota| quota.0)),
    }
}
