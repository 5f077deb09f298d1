//! Requests on their way into memory, and how much of it all of them may take.

use std::sync::Arc;

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::RunsError;

/// Memory is taken in steps of so many bytes.
const STEP: usize = 4 << 10;
/// So many of the largest requests may be in memory at once, …
const LARGEST: u64 = 16;
/// … and at least so many bytes.
const LEAST: u64 = 64 << 20;

/// What all requests together may take, in steps.
pub(super) struct Room {
    steps: Arc<Semaphore>,
    /// Largest body, in bytes.
    limit: u64,
}

/// A request's part of it, until it is dropped.
pub(super) type Held = OwnedSemaphorePermit;

impl Room {
    /// For bodies of `limit` bytes at most.
    pub(super) fn new(limit: u64) -> Self {
        let bytes = limit.saturating_mul(LARGEST).max(LEAST);
        let steps = usize::try_from(bytes).unwrap_or(usize::MAX) / STEP;
        Self {
            steps: Arc::new(Semaphore::new(steps.min(Semaphore::MAX_PERMITS))),
            limit,
        }
    }

    /// The whole body, and its place in memory. How slowly it may come is the gateway's affair.
    pub(super) async fn receive(
        &self,
        fields: &HeaderMap,
        body: Body,
    ) -> Result<(Vec<u8>, Held), RunsError> {
        let announced = fields.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.limit) {
            return Err(RunsError::TooLarge(self.limit));
        }
        let mut held = self.take(1)?;
        let mut whole = Vec::new();
        let mut parts = body.into_data_stream();
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| {
                RunsError::Bad(format!("the request did not arrive whole: {error}"))
            })?;
            let length = whole.len() + part.len();
            if length as u64 > self.limit {
                return Err(RunsError::TooLarge(self.limit));
            }
            let more = length.div_ceil(STEP) - whole.len().div_ceil(STEP);
            if more > 0 {
                held.merge(self.take(more)?);
            }
            whole.extend_from_slice(&part);
        }
        Ok((whole, held))
    }

    fn take(&self, steps: usize) -> Result<Held, RunsError> {
        let steps = u32::try_from(steps).map_err(|_| RunsError::Crowded)?;
        let taken = Arc::clone(&self.steps).try_acquire_many_owned(steps);
        taken.map_err(|_| RunsError::Crowded)
    }
}
