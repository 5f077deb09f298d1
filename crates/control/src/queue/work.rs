//! Makes the calls that are due, so many of a function at a time, and their callbacks.

use std::{
    future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hob_model::{AsyncPolicy, EndReason, Function, FunctionName, port::Dial};
use hob_store::{Attempt, CallRow, CallToMake, Ending, Fields, Next, StoreError};
use http::{HeaderName, HeaderValue, Method, Request, header};
use http_body_util::Full;
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Queue,
    answer::{Outcome, Verdict},
    callback::{Messenger, Refused},
    index::{Job, Kind, LaneKey},
    inside, millis, pause, unix_now, written,
};
use crate::Control;

/// Beyond a function's own timeout, which the data plane keeps: for an answer on its way, and
/// should the data plane fail to.
const MARGIN: Duration = Duration::from_secs(10);
/// How long calls under way may go on after the order to stop.
const GRACE: Duration = Duration::from_secs(6);
/// Wait after the disk has refused, or something of ours broke.
const TROUBLE: Duration = Duration::from_secs(5);
/// How often old results are looked for.
const SWEEP: Duration = Duration::from_secs(60);
/// Callbacks of one function at the same time.
const CALLBACKS_AT_ONCE: usize = 16;
/// Most tries of a callback.
const CALLBACK_TRIES: u32 = 6;
/// Wait before a callback is tried for the second time; doubles with each try.
const CALLBACK_MIN_WAIT: Duration = Duration::from_secs(2);
/// Longest wait before a callback is tried again.
const CALLBACK_MAX_WAIT: Duration = Duration::from_secs(60);

/// Whoever makes the calls.
struct Worker {
    control: Arc<Control>,
    queue: Arc<Queue>,
    dial: Arc<dyn Dial>,
    messenger: Messenger,
    stop: CancellationToken,
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
        });
        let queue = &worker.queue;
        let mut turns = JoinSet::new();
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
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
            Kind::Call => self.policy(&lane.function, |policy| policy.concurrency) as usize,
        }
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
        let call = self.control.queued(move |calls| calls.to_make(seq)).await?;
        let Some(call) = call else {
            self.queue.finish(job, None);
            return Ok(Worked::Through);
        };
        let callback = call.has_callback;
        let Some(function) = self.control.deployed.get(&job.lane.function) else {
            let attempt = orphaned(&job.lane.function, callback);
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

    /// Writes down how an attempt went, however long the disk takes to accept it: until then the
    /// call counts as under way, so that a full disk stops the queue and loses nothing.
    async fn settle(&self, job: &Job, attempt: Attempt) -> Result<Worked, StoreError> {
        let (attempt, stale) = (Arc::new(attempt), self.queue.stale());
        loop {
            let (told, settled) = oneshot::channel();
            let done = self.finisher(job, told);
            let (attempt, stale) = (Arc::clone(&attempt), stale.clone());
            self.queue.calls.settle(job.seq, attempt, stale, done);
            match written(settled).await {
                Ok(()) => return Ok(Worked::Through),
                Err(error) if self.stop.is_cancelled() => return Err(error),
                Err(error) => tracing::error!("the end of call number {} waits: {error}", job.seq),
            }
            sleep(TROUBLE).await;
        }
    }

    /// Tells of a call's answer once.
    async fn tell(&self, job: &Job) -> Result<Worked, StoreError> {
        let seq = job.seq;
        let call = self.control.queued(move |calls| calls.to_tell(seq)).await?;
        let Some(call) = call else {
            self.queue.finish(job, None);
            return Ok(Worked::Through);
        };
        let tries = call.tries + 1;
        let function = &job.lane.function;
        let most = self.policy(function, |policy| policy.attempts);
        let told = self.messenger.tell(function, call, most).await;
        let (problem, again) = match told {
            Ok(()) => (None, None),
            Err(_) if self.stop.is_cancelled() => return Ok(Worked::Left),
            Err(Refused { problem, again }) => {
                let again = (again && tries < CALLBACK_TRIES).then(|| {
                    let wait = CALLBACK_MIN_WAIT.saturating_mul(1 << (tries - 1).min(16));
                    after(wait.min(CALLBACK_MAX_WAIT))
                });
                (Some(problem), again)
            }
        };
        let (sender, settled) = oneshot::channel();
        let done = self.finisher(job, sender);
        self.queue.calls.told(seq, problem, again, done);
        written(settled).await.map(|()| Worked::Through)
    }

    /// What ends the work on a call as soon as that is written down, in the order of the disk, and
    /// says so.
    fn finisher(
        &self,
        job: &Job,
        told: oneshot::Sender<Result<(), StoreError>>,
    ) -> impl FnOnce(Result<Option<CallRow>, StoreError>) + Send + use<> {
        let (queue, job) = (Arc::clone(&self.queue), job.clone());
        move |row| {
            if let Ok(row) = &row {
                queue.finish(&job, row.as_ref());
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
            self.queue.calls.forget(stale, |result| {
                if let Err(error) = result {
                    tracing::warn!("old results of calls stay: {error}");
                }
            });
        }
    }
}

/// A function that is gone takes the calls that wait for it along.
fn orphaned(name: &FunctionName, callback: bool) -> Attempt {
    Attempt {
        status: None,
        end: EndReason::Cancelled.to_string(),
        millis: 0,
        problem: Some(format!(
            "function `{name}` was removed before the call was made"
        )),
        next: Next::End(Ending {
            at: unix_now(),
            answer: Fields::new(),
            result: Vec::new(),
            callback,
        }),
    }
}

fn conclude(
    outcome: Outcome,
    policy: &AsyncPolicy,
    attempts: u32,
    took: Duration,
    callback: bool,
) -> Attempt {
    let Outcome {
        status,
        end,
        answer,
        result,
        verdict,
    } = outcome;
    let over = Next::End(Ending {
        at: unix_now(),
        answer,
        result,
        callback,
    });
    let (problem, next) = match verdict {
        Verdict::Done => (None, over),
        Verdict::Failed(problem) => (Some(problem), over),
        Verdict::Again { problem, .. } if attempts >= policy.attempts => (Some(problem), over),
        Verdict::Again {
            problem,
            after: asked,
        } => {
            let wait = asked.unwrap_or_else(|| pause::wait(policy, attempts));
            (Some(problem), Next::Again(after(wait)))
        }
    };
    Attempt {
        status: Some(status.as_u16()),
        end,
        millis: i64::try_from(millis(took)).unwrap_or(i64::MAX),
        problem,
        next,
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
        headers.append(name, HeaderValue::from_str(value)?);
    }
    headers.insert("x-call-id", HeaderValue::from_str(&call.id)?);
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
    }
    Ok(request)
}

/// So long from now, in milliseconds since 1970.
fn after(wait: Duration) -> i64 {
    unix_now().saturating_add(i64::try_from(millis(wait)).unwrap_or(i64::MAX))
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(job) = &self.job {
            self.queue.put_back(job, TROUBLE);
        }
    }
}
