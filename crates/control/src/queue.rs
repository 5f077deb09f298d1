//! Asynchronous calls: taken now, on the disk before anybody is told so, made later.

mod answer;
mod callback;
mod complaints;
mod ending;
mod fields;
mod index;
mod inside;
mod limits;
mod pause;
mod work;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::{CallIds, FunctionName, wire::QueueDepth};
use hob_store::{CallQueue, CallRow, CallState, NewCall, StoreError, clock::unix_now};
use thiserror::Error;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{Control, control::blocking};
pub(crate) use callback::check_url;
pub(crate) use fields::fields;
pub use limits::QueueLimits;
pub(crate) use limits::{Caller, Full};

use complaints::Complaints;
use index::{Due, Index, Job, LaneKey, Stale};
use limits::{RESULT_AGE, RESULTS_PART};

/// Most bytes of calls that are about to be written, in memory at once; four of the largest
/// bodies always fit.
const IN_MEMORY: u64 = 64 << 20;
/// Calls that are retried or dropped in one write, so that others get their turn.
const MANY_AT_ONCE: u32 = 1000;

/// Longest time until a call is tried again that anything may ask for. Whatever the disk says
/// beyond that was written by a clock that has been set since.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a call was not taken.
#[derive(Debug, Error)]
pub(crate) enum EnqueueError {
    /// There is no room.
    #[error(transparent)]
    Full(#[from] Full),
    /// The disk could not.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody writes any more.
    #[error("hob is stopping")]
    Stopping,
}

/// The queue: the table, and what is known of it without asking the disk.
pub(crate) struct Queue {
    calls: CallQueue,
    limits: QueueLimits,
    index: Mutex<Index>,
    /// There may be something to do.
    changed: Notify,
    /// In KiB.
    memory: Arc<Semaphore>,
    ids: Mutex<CallIds>,
    born: Instant,
    complaints: Complaints,
}

// === impl Control ===

impl Control {
    /// Takes a call that is to be made later; on return it is on the disk.
    pub(crate) async fn enqueue(&self, call: NewCall) -> Result<(), EnqueueError> {
        self.queue.take(call, Caller::Anybody).await
    }

    /// The same for a schedule, which finds a little room also where others do not.
    pub(crate) async fn enqueue_scheduled(&self, call: NewCall) -> Result<(), EnqueueError> {
        self.queue.take(call, Caller::Schedule).await
    }

    /// What the queue holds, function by function, and what became of its calls since hob
    /// started. Asks no disk.
    pub(crate) fn queue_depths(&self) -> Vec<QueueDepth> {
        self.queue.index().depths()
    }

    /// Reads the queue, on a thread that may wait for the disk.
    pub(crate) async fn queued<T: Send + 'static>(
        &self,
        work: impl FnOnce(&CallQueue) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let calls = self.queue.calls.clone();
        blocking(&self.config.runtime, move || work(&calls)).await
    }

    /// Learns what an earlier server left in the queue. Comes before the first call.
    pub(crate) async fn restore_queue(&self) -> Result<(), StoreError> {
        let mut rows = self.queued(CallQueue::rows).await?;
        let latest = self.queued(CallQueue::latest).await?;
        // The clock was set back meanwhile: nothing waits until it says what it said then.
        let ahead = latest.saturating_sub(unix_now()).max(0);
        for row in &mut rows {
            row.due_at = row.due_at.saturating_sub(ahead);
        }
        // Results leave by their age.
        rows.sort_by_key(|row| (row.ended_at, row.seq));
        let mut index = self.queue.index();
        for row in &rows {
            index.add(row, self.queue.due(row, self.longest_wait(row)));
        }
        Ok(())
    }
}

impl Control {
    /// The longest that a call may have been told to wait.
    fn longest_wait(&self, row: &CallRow) -> Duration {
        let function = self.deployed.get(&row.function);
        let own = function.map_or(Duration::ZERO, |function| {
            function.revision.settings.asynchronous.max_wait.0
        });
        own.max(pause::ASKED_MAX)
    }
}

// === impl Queue ===

impl Queue {
    pub(crate) fn new(calls: CallQueue, limits: QueueLimits) -> Arc<Self> {
        let memory = IN_MEMORY.max(4 * limits.body) >> 10;
        let memory = usize::try_from(memory).unwrap_or(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            calls,
            limits,
            index: Mutex::new(Index::new(limits.body)),
            changed: Notify::new(),
            memory: Arc::new(Semaphore::new(memory)),
            ids: Mutex::default(),
            born: Instant::now(),
            complaints: Complaints::default(),
        })
    }

    /// Largest body of a call, in bytes.
    pub(crate) fn body_limit(&self) -> u64 {
        self.limits.body
    }

    /// A new id for a call.
    pub(crate) fn new_id(&self) -> String {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&ids.make()).into_owned()
    }

    /// Room in memory for so many bytes of a call that is about to be taken, while this lives;
    /// `None` when others have it.
    pub(crate) fn room(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kibibytes = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        let memory = Arc::clone(&self.memory);
        memory.try_acquire_many_owned(kibibytes).ok()
    }

    /// The calls that are being made, and those with a callback that is.
    pub(crate) fn running(&self) -> Vec<i64> {
        self.index().running()
    }

    /// Whether a call is being made, or its callback.
    pub(crate) fn is_running(&self, seq: i64) -> bool {
        self.index().is_running(seq)
    }

    async fn take(self: &Arc<Self>, call: NewCall, caller: Caller) -> Result<(), EnqueueError> {
        let (bytes, function) = (call.bytes(), call.function.clone());
        let reserved = self.index().reserve(&function, bytes, &self.limits, caller);
        reserved.inspect_err(|full| self.complaints.not_taken(&function, full))?;
        let name = function.clone();
        let (told, taken) = oneshot::channel();
        let queue = Arc::clone(self);
        // Told by the one writer, in the order of the disk: so calls run in that order.
        self.calls.take(call, move |row| {
            let now = queue.now();
            queue
                .index()
                .admit(&function, bytes, row.as_ref().ok(), now);
            queue.changed.notify_one();
            let _ = told.send(row);
        });
        match taken.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => {
                self.complaints.not_taken(&name, &error);
                Err(error.into())
            }
            Err(_) => Err(EnqueueError::Stopping),
        }
    }

    /// Drops the newest call of this id, wherever it stands; false when there is none.
    pub(crate) async fn drop_call(
        self: &Arc<Self>,
        id: String,
        function: Option<FunctionName>,
    ) -> Result<bool, StoreError> {
        let queue = Arc::clone(self);
        let (told, dropped) = oneshot::channel();
        self.calls.drop_call(id, function, move |found| {
            if let Ok(Some(row)) = &found {
                queue.index().remove(row);
            }
            let _ = told.send(found);
        });
        Ok(written(dropped).await?.is_some())
    }

    /// Has the newest dead letter of this id made anew. `None` when there is no such call, and where
    /// it stands when none is a dead letter.
    pub(crate) async fn retry_call(
        self: &Arc<Self>,
        id: String,
        function: Option<FunctionName>,
    ) -> Result<Option<Result<(), CallState>>, StoreError> {
        let queue = Arc::clone(self);
        let (told, retried) = oneshot::channel();
        self.calls
            .retry_call(id, function, unix_now(), move |found| {
                if let Ok(Some((was, Some(is)))) = &found {
                    queue.revive(was, is);
                }
                let _ = told.send(found);
            });
        let found = written(retried).await?;
        Ok(found.map(|(was, is)| is.map(drop).ok_or(was.state)))
    }

    /// Drops all calls that stand there, of one function or of all; returns how many.
    pub(crate) async fn drop_many(
        self: &Arc<Self>,
        state: CallState,
        function: Option<FunctionName>,
    ) -> Result<u64, StoreError> {
        let (mut last, mut count) = (0, 0);
        loop {
            let queue = Arc::clone(self);
            let (told, dropped) = oneshot::channel();
            let done = move |rows: Result<Vec<CallRow>, _>| {
                for row in rows.iter().flatten() {
                    queue.index().remove(row);
                }
                let _ = told.send(rows);
            };
            let function = function.clone();
            self.calls
                .drop_many(state, function, last, MANY_AT_ONCE, done);
            let dropped = written(dropped).await?;
            count += dropped.len() as u64;
            match dropped.last() {
                Some(row) => last = row.seq,
                None => return Ok(count),
            }
        }
    }

    /// Has all dead letters made anew, each once, of one function or of all; returns how many.
    pub(crate) async fn retry_dead(
        self: &Arc<Self>,
        function: Option<FunctionName>,
    ) -> Result<u64, StoreError> {
        let (mut last, mut count) = (0, 0);
        loop {
            let queue = Arc::clone(self);
            let (told, retried) = oneshot::channel();
            let done = move |rows: Result<Vec<(CallRow, CallRow)>, _>| {
                for (was, is) in rows.iter().flatten() {
                    queue.revive(was, is);
                }
                let _ = told.send(rows);
            };
            let function = function.clone();
            let now = unix_now();
            self.calls
                .retry_dead(function, last, MANY_AT_ONCE, now, done);
            let retried = written(retried).await?;
            count += retried.len() as u64;
            match retried.last() {
                Some((was, _)) => last = was.seq,
                None => return Ok(count),
            }
        }
    }

    fn revive(&self, was: &CallRow, is: &CallRow) {
        let mut index = self.index();
        index.remove(was);
        index.add(is, self.due(is, LONGEST_WAIT));
        drop(index);
        self.changed.notify_one();
    }

    /// The next call to work on.
    fn next(&self, limit: impl Fn(&LaneKey) -> usize) -> Option<Job> {
        self.index().next(self.now(), limit)
    }

    /// How long there is nothing to do, should nothing else happen.
    fn pause(&self) -> Option<Duration> {
        let due = self.index().next_due()?;
        Some(Duration::from_millis(due.saturating_sub(self.now())))
    }

    /// Ends the work on a call. `again` is when it is tried again: known since before the disk had
    /// that, whatever became of the machine's clock meanwhile.
    fn finish(&self, job: &Job, row: Option<&CallRow>, again: Option<u64>) {
        let due = match (again, row) {
            (Some(again), _) => Due::At(again),
            (None, Some(row)) => self.due(row, LONGEST_WAIT),
            (None, None) => Due::At(0),
        };
        self.index().finish(job, row, due);
        self.changed.notify_one();
    }

    fn put_back(&self, job: &Job, after: Duration) {
        let due = self.now() + millis(after);
        self.index().put_back(job, due);
        self.changed.notify_one();
    }

    /// What is kept no longer.
    fn stale(&self) -> Stale {
        let most = self.limits.bytes / RESULTS_PART;
        let stale = self.index().stale(self.now(), most, self.limits.dead());
        for row in stale.dead() {
            tracing::warn!(
                "dead letter number {} of `{}` is dropped: it is the oldest, and dead letters have a quarter of the queue",
                row.seq,
                row.function
            );
        }
        stale
    }

    /// When a call is due that was read from the disk. What is due now keeps its order, and what
    /// was not tried yet is always due now: nothing but its order has it wait.
    fn due(&self, row: &CallRow, longest: Duration) -> Due {
        if row.state == CallState::Done {
            let age = unix_now().saturating_sub(row.ended_at);
            let age = u64::try_from(age).unwrap_or(0);
            return Due::At(self.now() + RESULT_AGE.saturating_sub(age));
        }
        let (due, now) = (self.at(row.due_at, longest), self.now());
        let is_new = row.state == CallState::Waiting && row.attempts == 0;
        if due > now && !is_new {
            Due::At(due)
        } else {
            Due::InOrder(now)
        }
    }

    /// A time of the disk, on the clock of this process.
    fn at(&self, unix: i64, longest: Duration) -> u64 {
        let wait = unix.saturating_sub(unix_now());
        self.now() + u64::try_from(wait).unwrap_or(0).min(millis(longest))
    }

    /// Milliseconds since this queue was made.
    fn now(&self) -> u64 {
        millis(self.born.elapsed())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the writer, who only ever ends with the server.
async fn written<T>(told: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
    match told.await {
        Ok(result) => result,
        Err(_) => std::future::pending().await,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// So long from now, in milliseconds since 1970.
fn after(wait: Duration) -> i64 {
    unix_now().saturating_add(i64::try_from(millis(wait)).unwrap_or(i64::MAX))
}
