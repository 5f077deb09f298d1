use std::time::Instant as StdInstant;

use futures_util::{StreamExt, stream};
use hob_model::{
    End, EndReason,
    port::{RunStream, StartedRun},
    sandbox::{RunEnd, RunEvent, RunTimes},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

use super::stalls::Stall;
use crate::pool::{Held, Place, worker::SLACK};

/// Events that wait for their reader; the worker waits with more.
const EVENTS: usize = 8;

/// What a run holds until its end.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) stall: Stall,
    pub(super) place: Place,
    pub(super) held: Held,
    /// Cancelled when the pool closes.
    pub(super) closed: CancellationToken,
}

// === impl Hold ===

impl Hold {
    /// Has a task of its own read what the worker says and end the run just after its deadline,
    /// whether anybody reads its events or not. What the run holds is back before its end is told.
    pub(super) fn watch(self, run: StartedRun) -> StartedRun {
        let (events, heard) = mpsc::channel(EVENTS);
        let (end, told) = oneshot::channel();
        tokio::spawn(self.work(run.events, events, end));
        let state = Some((heard, told));
        let events = stream::unfold(state, |state| async move {
            let (mut heard, told) = state?;
            if let Some(event) = heard.recv().await {
                return Some((event, Some((heard, told))));
            }
            Some((RunEvent::End(told.await.ok()?), None))
        });
        StartedRun {
            worker: run.worker,
            events: Box::pin(events),
        }
    }

    async fn work(
        self,
        mut run: RunStream,
        events: mpsc::Sender<RunEvent>,
        told: oneshot::Sender<RunEnd>,
    ) {
        let since = StdInstant::now();
        let deadline = self.held.deadline + SLACK;
        let own = |reason, words: &str| {
            let times = RunTimes {
                queue: self.held.queue,
                run: since.elapsed(),
                ..RunTimes::default()
            };
            RunEnd::without_program(End::new(reason, words), times)
        };
        let end = tokio::select! {
            biased;
            // Its caller hung up.
            () = events.closed() => None,
            () = self.closed.cancelled() => Some(own(EndReason::Cancelled, "the server stops")),
            end = pump(&mut run, &events) => end,
            () = sleep_until(deadline) => {
                let time = self.held.limits.time;
                let words = format!("passed its time limit of {time} with output that nobody read");
                Some(own(EndReason::Timeout, &words))
            }
        };
        // In this order: whoever is called next finds the worker free.
        drop(run);
        drop((self.stall, self.place));
        if let Some(end) = end {
            // Nobody may be there any more.
            let _ = told.send(end);
        }
    }
}

/// Passes on what comes, up to the end. `None` when that does not come, or nobody is there.
async fn pump(run: &mut RunStream, events: &mpsc::Sender<RunEvent>) -> Option<RunEnd> {
    loop {
        match run.next().await? {
            RunEvent::End(end) => return Some(end),
            event => events.send(event).await.ok()?,
        }
    }
}
