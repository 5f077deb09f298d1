//! What the log says of trouble that meets every call: not for each of them anew.

use std::{
    fmt::Display,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use hob_model::FunctionName;
use hob_store::StoreError;

use super::index::Job;

/// How often the log says the same.
const EVERY: Duration = Duration::from_secs(60);

/// When each was said last.
#[derive(Default)]
pub(super) struct Complaints {
    not_taken: Mutex<Option<Instant>>,
    not_written: Mutex<Option<Instant>>,
}

// === impl Complaints ===

impl Complaints {
    /// For the owner: callers are not told what the disk said, or what is in the queue.
    pub(super) fn not_taken(&self, function: &FunctionName, why: &dyn Display) {
        if is_time(&self.not_taken) {
            tracing::error!("a call of `{function}` was not taken: {why}");
        }
    }

    /// A call was made, and its end waits for the disk.
    pub(super) fn not_written(&self, job: &Job, why: &StoreError) {
        if is_time(&self.not_written) {
            let (seq, function) = (job.seq, &job.lane.function);
            tracing::error!("the end of call number {seq}, of `{function}`, waits: {why}");
        }
    }
}

fn is_time(said: &Mutex<Option<Instant>>) -> bool {
    let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let is_time = said.is_none_or(|said| said.elapsed() >= EVERY);
    if is_time {
        *said = Some(Instant::now());
    }
    is_time
}
