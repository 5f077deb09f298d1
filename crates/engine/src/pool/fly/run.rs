//! One run, on one machine.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use hob_model::{
    End, EndReason,
    port::{RunError, RunStream, StartedRun},
    sandbox::{RunEnd, RunEvent, RunOrder, RunTimes},
};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    hire::{Fate, Hired, closed},
};
use crate::pool::{
    Place,
    worker::{Held, SLACK, WorkerAddress, WorkerError, settle},
};

/// Has Fly's proxy bring a request to one machine and no other.
const FORCE: HeaderName = HeaderName::from_static("fly-force-instance-id");
/// Machines that are tried where a worker certainly has not run anything.
const TRIES: u32 = 2;

/// The events of a run, and its end's effect on its machine.
struct Watched {
    events: RunStream,
    /// Tells the machine's task what becomes of it; `None` after the end.
    done: Option<oneshot::Sender<Fate>>,
    closing: CancellationToken,
    times: RunTimes,
    since: Instant,
}

/// Waits in line for a machine, and has `order` run on it.
pub(super) async fn run(shared: &Arc<Shared>, mut order: RunOrder) -> Result<StartedRun, RunError> {
    let config = &shared.config;
    // Before it costs a machine.
    let limits = settle(
        &mut order,
        &config.limits,
        &config.languages,
        config.protocol,
    )?;
    let entered = Instant::now();
    let place = tokio::select! {
        biased;
        () = shared.closing.cancelled() => return Err(closed()),
        place = shared.line.enter(&order.caller) => place?,
    };
    let queue = entered.elapsed();
    let leased = Instant::now();
    let mut place = place;
    let mut tries = 1;
    loop {
        let hired = hire(shared, place, limits.time.0).await?;
        let held = Held {
            limits,
            deadline: Instant::now() + limits.time.0,
            queue,
        };
        let error = match ask(shared, &hired, &order, held).await {
            Ok(run) => {
                let start = leased.elapsed();
                return Ok(watch(shared, hired, run, held, start));
            }
            Err(error) => error,
        };
        let hopeless = matches!(error, WorkerError::Unauthorised { .. });
        if hopeless || !error.nothing_ran() || tries == TRIES {
            return Err(refused(hired, error));
        }
        tracing::warn!("{error}: another machine is tried");
        place = hired.exchange().await.ok_or_else(closed)?;
        tries += 1;
    }
}

/// Whoever drops this leaves the machine to its task, which goes on until the machine is stopped.
async fn hire(shared: &Arc<Shared>, place: Place, time: Duration) -> Result<Hired, RunError> {
    let (sender, hired) = oneshot::channel();
    let work = shared.clone().hire(place, time);
    shared.spawn(async move {
        drop(sender.send(work.await));
    });
    hired.await.map_err(|_| closed())?
}

async fn ask(
    shared: &Shared,
    hired: &Hired,
    order: &RunOrder,
    held: Held,
) -> Result<StartedRun, WorkerError> {
    let problem = |problem: &str| WorkerError::Refused(problem.into());
    let machine = hired
        .machine()
        .ok_or_else(|| problem("it has no machine"))?;
    let id = machine.id.as_str();
    let value = HeaderValue::from_str(id).map_err(|_| problem("its machine has a bad name"))?;
    let address = WorkerAddress {
        url: shared.config.workers.clone(),
        id: id
            .parse()
            .map_err(|_| problem("its machine has a bad name"))?,
        headers: HeaderMap::from_iter([(FORCE, value)]),
    };
    let protocol = shared.config.protocol;
    shared.workers.run(&address, protocol, order, held).await
}

/// What a worker's error means for its machine, and for the caller.
fn refused(mut hired: Hired, error: WorkerError) -> RunError {
    match error {
        WorkerError::Refused(problem) => RunError::Refused(problem),
        // Another machine has the same image and the same key.
        WorkerError::Unauthorised { .. } => RunError::Unavailable(error.to_string()),
        error => {
            hired.fate(Fate::Destroy);
            RunError::Unavailable(error.to_string())
        }
    }
}

/// Gives the machine to a task of its own, which has it stopped at the end of the run, and at the
/// latest just after its deadline, whether anybody reads the events or not.
fn watch(
    shared: &Arc<Shared>,
    mut hired: Hired,
    run: StartedRun,
    held: Held,
    start: Duration,
) -> StartedRun {
    let (done, told) = oneshot::channel();
    let closing = shared.closing.clone();
    shared.spawn(async move {
        let fate = tokio::select! {
            // One that is dropped is a caller that hung up.
            told = told => told.unwrap_or(Fate::Return),
            () = sleep_until(held.deadline + SLACK) => Fate::Return,
            () = closing.cancelled() => Fate::Return,
        };
        hired.fate(fate);
    });
    let watched = Watched {
        events: run.events,
        done: Some(done),
        closing: shared.closing.clone(),
        times: RunTimes {
            queue: held.queue,
            start,
            run: Duration::ZERO,
        },
        since: Instant::now(),
    };
    let events = stream::unfold(watched, |mut watched| async move {
        let event = watched.next().await?;
        Some((event, watched))
    });
    StartedRun {
        worker: run.worker,
        events: Box::pin(events),
    }
}

// === impl Watched ===

impl Watched {
    async fn next(&mut self) -> Option<RunEvent> {
        self.done.as_ref()?;
        let event = tokio::select! {
            biased;
            () = self.closing.cancelled() => {
                let end = End::new(EndReason::Cancelled, "the server stops");
                Some(RunEvent::End(self.end(end)))
            }
            event = self.events.next() => event,
        };
        match event {
            Some(RunEvent::End(mut end)) => {
                // Until the machine was up; what the worker took is its own.
                end.times.start += self.times.start;
                let fate = match end.end.reason {
                    EndReason::Host => Fate::Destroy,
                    _ => Fate::Return,
                };
                self.over(fate);
                Some(RunEvent::End(end))
            }
            Some(event) => Some(event),
            None => {
                self.over(Fate::Destroy);
                None
            }
        }
    }

    /// Has the machine stopped, and closes the connection to it.
    fn over(&mut self, fate: Fate) {
        if let Some(done) = self.done.take() {
            // The machine's task may have ended at the deadline.
            let _ = done.send(fate);
        }
        self.events = Box::pin(stream::empty());
    }

    fn end(&self, end: End) -> RunEnd {
        let times = RunTimes {
            start: Duration::ZERO,
            run: self.since.elapsed(),
            ..self.times
        };
        RunEnd::without_program(end, times)
    }
}
