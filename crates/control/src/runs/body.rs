//! Requests on their way into memory, and how much of it all of them, and all of one caller, may
//! take: an order is kept while it waits in line.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::body::Body;
use futures_util::StreamExt;
use http::{HeaderMap, header};

use super::error::RunsError;

/// Memory is taken in steps of so many bytes.
const STEP: usize = 4 << 10;
/// So many of the largest requests may be in memory at once, …
const LARGEST: u64 = 16;
/// … and at least so many bytes.
const LEAST: u64 = 64 << 20;
/// One caller may take this part of it, so that nobody locks out all others by himself: four of the
/// largest requests.
const SHARE: usize = 4;

/// What all requests together may take.
pub(super) struct Room {
    taken: Arc<Mutex<Taken>>,
    /// Steps that there are.
    steps: usize,
    /// Largest body, in bytes.
    limit: u64,
}

/// Steps that are taken, all of them and by caller. Whoever has none is not in it.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    callers: HashMap<String, usize>,
}

/// A request's part of it, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    taken: Arc<Mutex<Taken>>,
    caller: Option<String>,
    steps: usize,
}

impl Room {
    /// For bodies of `limit` bytes at most.
    pub(super) fn new(limit: u64) -> Self {
        let bytes = limit.saturating_mul(LARGEST).max(LEAST);
        Self {
            taken: Arc::default(),
            steps: usize::try_from(bytes).unwrap_or(usize::MAX) / STEP,
            limit,
        }
    }

    /// The whole body of a request of `caller`, if callers are told apart, and its place in memory.
    /// How slowly it may come is the gateway's affair.
    pub(super) async fn receive(
        &self,
        caller: Option<&str>,
        fields: &HeaderMap,
        body: Body,
    ) -> Result<(Vec<u8>, Held), RunsError> {
        let announced = fields.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > self.limit) {
            return Err(RunsError::TooLarge(self.limit));
        }
        let mut held = Held {
            taken: Arc::clone(&self.taken),
            caller: caller.map(str::to_owned),
            steps: 0,
        };
        self.take(&mut held, 1)?;
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
            let more = length.div_ceil(STEP).saturating_sub(held.steps);
            if more > 0 {
                self.take(&mut held, more)?;
            }
            whole.extend_from_slice(&part);
        }
        Ok((whole, held))
    }

    fn take(&self, held: &mut Held, more: usize) -> Result<(), RunsError> {
        let mut taken = held.taken();
        if more > self.steps.saturating_sub(taken.all) {
            return Err(RunsError::Crowded);
        }
        if let Some(caller) = &held.caller {
            let own = taken.callers.get(caller).copied().unwrap_or_default();
            if own + more > self.steps / SHARE {
                return Err(RunsError::Share);
            }
            taken.callers.insert(caller.clone(), own + more);
        }
        taken.all += more;
        drop(taken);
        held.steps += more;
        Ok(())
    }
}

impl Held {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.taken();
        taken.all -= self.steps;
        let Some(caller) = &self.caller else {
            return;
        };
        if let Some(own) = taken.callers.get_mut(caller) {
            *own -= self.steps;
            if *own == 0 {
                taken.callers.remove(caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The largest body here, in bytes.
    const LIMIT: usize = 4 << 20;

    async fn receive(
        room: &Room,
        caller: impl Into<Option<&'static str>>,
    ) -> Result<Held, RunsError> {
        let body = Body::from(vec![b'x'; LIMIT]);
        let received = room.receive(caller.into(), &HeaderMap::new(), body).await;
        received.map(|(_, held)| held)
    }

    #[tokio::test]
    async fn nobody_takes_more_than_his_share_and_all_of_it_comes_back() {
        let room = Room::new(LIMIT as u64);
        let mut held = Vec::new();
        for caller in ["a", "b", "c", "d"] {
            for _ in 0..4 {
                held.push(receive(&room, caller).await.expect("his share"));
            }
            if caller == "a" {
                let more = receive(&room, "a").await.expect_err("more than his share");
                assert!(matches!(more, RunsError::Share), "{more}");
            }
        }
        let late = receive(&room, "e").await.expect_err("there is no more");
        assert!(matches!(late, RunsError::Crowded), "{late}");
        // What was given up half way has left nothing either.
        assert_eq!(room.taken.lock().expect("no panic").callers.len(), 4);
        held.remove(0);
        held.push(receive(&room, "a").await.expect("there is room again"));
        held.clear();
        for _ in 0..16 {
            held.push(receive(&room, None).await.expect("there are no shares"));
        }
        held.clear();
        let taken = room.taken.lock().expect("no panic");
        assert_eq!((taken.all, taken.callers.len()), (0, 0));
    }
}
