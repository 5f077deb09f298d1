//! Makes the calls that are due, so many of a function at a time, and their callbacks.

mod callbacks;

use std::{
    collections::HashMap,
    future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hob_model::{AsyncPolicy, Function, FunctionName, port::Dial};
use hob_store::{Attempt, CallRow, CallToMake, Next, StoreError};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    LONGEST_WAIT, Queue,
    answer::{Outcome, Verdict},
    callback::Messenger,
    ending::{conclude, has_result, not_made, shorten},
    index::{Job, Kind, LaneKey},
    inside, written,
};
use crate::Control;
use callbacks::CALLBACKS_AT_ONCE;

/// Beyond a function's own timeout, which the data plane keeps: for an answer on its way, and
/// should the data plane fail to.
const MARGIN: Duration = Duration::from_secs(10);
/// How long calls under way may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(6);
/// Wait after the disk has refused, or something of ours broke.
const TROUBLE: Duration = Duration::from_secs(5);
/// How often it is looked whether functions have come back that calls wait for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How often old results are looked for.
const SWEEP: Duration = Duration::from_secs(60);

/// Whoever makes the calls.
struct Worker {
    control: Arc<Control>,
    queue: Arc<Queue>,
    dial: Arc<dyn Dial>,
    messenger: Messenger,
    stop: CancellationToken,
    /// Since when functions are gone whose calls wait.
    missing: Mutex<HashMap<FunctionName, Instant>>,
}

/// A call while it is worked on. Dropped before its end, the call is due again.
struct Turn {
    queue: Arc<Queue>,
    job: Option<Job>,
}

/// How far the work on a call went.
enum Worked {
    /// What became of it is written down, or somebody dropped it.
    Through,
    /// hob is stopping: it is left as it is, for the next server.
    Left,
}

impl Control {
    /// Makes calls until `stop`, and a little longer those that are under way then. What is not
    /// made stays in the queue.
    pub(crate) async fn make_calls(self: Arc<Self>, dial: Arc<dyn Dial>, stop: CancellationToken) {
        let worker = Arc::new(Worker {
            queue: Arc::clone(&self.queue),
            messenger: Messenger::new(Arc::clone(&dial)),
            control: self,
            dial,
            stop: stop.clone(),
            missing: Mutex::default(),
        });
        let queue = &worker.queue;
        let mut turns = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut again = interval(LOOK_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some(job) = queue.next(|lane| worker.limit(lane)) {
                turns.spawn(Arc::clone(&worker).turn(job));
            }
            let pause = queue.pause();
            tokio::select! {
                () = stop.cancelled() => break,
                () = queue.changed.notified() => {}
                () = until(pause) => {}
                Some(ended) = turns.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!("a queued call hit a fault in hob: {error}");
                    }
                }
                _ = sweep.tick() => worker.sweep(),
                _ = again.tick(), if !worker.missing().is_empty() => worker.look_again(),
            }
        }
        let all = async { while turns.join_next().await.is_some() {} };
        let _ = timeout(GRACE, all).await;
    }
}

async fn until(pause: Option<Duration>) {
    match pause {
        Some(pause) => sleep(pause).await,
        None => future::pending().await,
    }
}

// === impl Worker ===

impl Worker {
    /// How many of a lane are worked on at the same time, as its function says now.
    fn limit(&self, lane: &LaneKey) -> usize {
        match lane.kind {
            Kind::Callback => CALLBACKS_AT_ONCE,
            Kind::Call if self.is_awaited(&lane.function) => 0,
            Kind::Call => self.policy(&lane.function, |policy| policy.concurrency) as usize,
        }
    }

    /// Whether a function is gone and may be back in a moment, as when a client replaces it by a
    /// DELETE and a POST.
    fn is_awaited(&self, name: &FunctionName) -> bool {
        if self.control.deployed.get(name).is_some() {
            return false;
        }
        let mut missing = self.missing();
        let since = missing.entry(name.clone()).or_insert_with(Instant::now);
        since.elapsed() < self.queue.limits.orphan_grace
    }

    /// Has the calls looked at whose functions were missing: these are back, or their time is up.
    fn look_again(&self) {
        let names: Vec<_> = self.missing().keys().cloned().collect();
        for function in names {
            let is_back = self.control.deployed.get(&function).is_some();
            let lane = LaneKey {
                function,
                kind: Kind::Call,
            };
            let waits = self.queue.index().look_again(&lane);
            if is_back || !waits {
                self.missing().remove(&lane.function);
            }
        }
    }

    fn missing(&self) -> MutexGuard<'_, HashMap<FunctionName, Instant>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a function says of its calls; the usual where it is gone.
    fn policy(&self, name: &FunctionName, key: impl Fn(&AsyncPolicy) -> u32) -> u32 {
        match self.control.deployed.get(name) {
            Some(function) => key(&function.revision.settings.asynchronous),
            None => key(&AsyncPolicy::default()),
        }
    }

    async fn turn(self: Arc<Self>, job: Job) {
        let mut turn = Turn {
            queue: Arc::clone(&self.queue),
            job: Some(job.clone()),
        };
        let worked = match job.lane.kind {
            Kind::Call => self.call(&job).await,
            Kind::Callback => self.tell(&job).await,
        };
        match worked {
            Ok(Worked::Through) => turn.job = None,
            Ok(Worked::Left) => {}
            Err(error) => tracing::error!("call number {} waits: {error}", job.seq),
        }
    }

    /// Makes a call once.
    async fn call(&self, job: &Job) -> Result<Worked, StoreError> {
        let seq = job.seq;
        let call = match self.control.queued(move |calls| calls.to_make(seq)).await {
            Ok(Some(call)) => call,
            Ok(None) => {
                self.queue.finish(job, None, None);
                return Ok(Worked::Through);
            }
            Err(error) if error.is_damaged_row() => return self.set_aside(job, &error).await,
            Err(error) => return Err(error),
        };
        let callback = call.has_callback;
        let Some(function) = self.control.deployed.get(&job.lane.function) else {
            if self.is_awaited(&job.lane.function) {
                return Ok(Worked::Left);
            }
            let problem = format!(
                "function `{}` was removed before the call was made",
                job.lane.function
            );
            let attempt = not_made(problem, callback);
            return self.settle(job, attempt).await;
        };
        let policy = &function.revision.settings.asynchronous;
        let attempts = call.attempts + 1;
        let begun = Instant::now();
        let outcome = self.attempt(&function, call).await;
        if self.stop.is_cancelled() && outcome.verdict != Verdict::Done {
            // It may have failed because everything is going down.
            return Ok(Worked::Left);
        }
        let attempt = conclude(outcome, policy, attempts, begun.elapsed(), callback);
        self.settle(job, attempt).await
    }

    async fn attempt(&self, function: &Function, call: CallToMake) -> Outcome {
        let settings = &function.revision.settings;
        let limit = settings.timeout.0 + MARGIN;
        let most = usize::try_from(self.queue.limits.body).unwrap_or(usize::MAX);
        let reply = match request(&function.name, call) {
            // It runs again with its next deploy.
            Ok(_) if self.control.loss(&function.name).is_some() => {
                Err(format!("function `{}` is not served", function.name))
            }
            Ok(request) => inside::exchange(&self.dial, request, most, limit).await,
            Err(error) => Err(format!("the call cannot be made: {error}")),
        };
        Outcome::of(reply, &settings.asynchronous)
    }

    /// Makes a row that somebody damaged a dead letter; one that cannot even be that is left alone
    /// until the next start.
    async fn set_aside(&self, job: &Job, error: &StoreError) -> Result<Worked, StoreError> {
        tracing::error!("call number {} cannot be read: {error}", job.seq);
        let (told, settled) = oneshot::channel();
        let done = self.finisher(job, None, told);
        let attempt = not_made("its row in the database is damaged".into(), false);
        self.queue
            .calls
            .settle(job.seq, Arc::new(attempt), Vec::new(), done);
        match written(settled).await {
            Err(error) if error.is_damaged_row() => self.queue.finish(job, None, None),
            settled => settled?,
        }
        Ok(Worked::Through)
    }

    /// Writes down how an attempt went, however long the disk takes to accept it: until then the
    /// call counts as under way, so that a full disk stops the queue and loses nothing but the
    /// answer, without which the end is small.
    async fn settle(&self, job: &Job, mut attempt: Attempt) -> Result<Worked, StoreError> {
        self.fit(job, &mut attempt);
        let again = match attempt.next {
            Next::Again(at) => Some(self.queue.at(at, LONGEST_WAIT)),
            Next::End(_) => None,
        };
        let stale = self.queue.stale().seqs();
        let mut attempt = Arc::new(attempt);
        loop {
            let (told, settled) = oneshot::channel();
            let done = self.finisher(job, again, told);
            self.queue
                .calls
                .settle(job.seq, Arc::clone(&attempt), stale.clone(), done);
            match written(settled).await {
                Ok(()) => return Ok(Worked::Through),
                Err(error) if self.stop.is_cancelled() => return Err(error),
                Err(StoreError::DiskFull { .. }) if has_result(&attempt) => {
                    shorten(Arc::make_mut(&mut attempt), 0);
                    continue;
                }
                Err(error) => self.queue.complaints.not_written(job, &error),
            }
            sleep(TROUBLE).await;
        }
    }

    /// Keeps what is left of a call within the bytes of the queue. Answers of calls that are over
    /// have room of their own.
    fn fit(&self, job: &Job, attempt: &mut Attempt) {
        let Next::End(ending) = &attempt.next else {
            return;
        };
        if !ending.callback && attempt.problem.is_none() {
            return;
        }
        let index = self.queue.index();
        // The request goes when the call went well.
        let freed = match attempt.problem {
            None => index.bytes_of(job.seq),
            Some(_) => 0,
        };
        let room = index.room(&self.queue.limits, freed);
        drop(index);
        shorten(attempt, room);
    }

    /// What ends the work on a call as soon as that is written down, in the order of the disk, and
    /// says so.
    fn finisher(
        &self,
        job: &Job,
        again: Option<u64>,
        told: oneshot::Sender<Result<(), StoreError>>,
    ) -> impl FnOnce(Result<Option<CallRow>, StoreError>) + Send + use<> {
        let (queue, job) = (Arc::clone(&self.queue), job.clone());
        move |row| {
            if let Ok(row) = &row {
                queue.finish(&job, row.as_ref(), again);
            }
            let _ = told.send(row.map(drop));
        }
    }

    fn sweep(&self) {
        let control = &self.control;
        let gone = |name: &FunctionName| control.deployed.get(name).is_none();
        self.queue.index().forget_counts(gone);
        let stale = self.queue.stale();
        if !stale.is_empty() {
            let queue = Arc::clone(&self.queue);
            self.queue.calls.forget(stale.seqs(), move |result| {
                if let Err(error) = result {
                    tracing::warn!("old results of calls stay for now: {error}");
                    queue.index().keep_stale(stale);
                }
            });
        }
    }
}

/// The call as its function is to get it.
fn request(name: &FunctionName, call: CallToMake) -> http::Result<Request<Full<Bytes>>> {
    let path = format!("/function/{}{}", name.qualified(), call.target);
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .body(Full::new(Bytes::from(call.body)))?;
    let headers = request.headers_mut();
    for (name, value) in &call.headers {
        let name: HeaderName = name.parse()?;
        headers.append(name, HeaderValue::from_bytes(value)?);
    }
    headers.insert("x-call-id", HeaderValue::from_str(&call.id)?);
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    Ok(request)
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            self.queue.put_back(job, TROUBLE);
        }
    }
}
