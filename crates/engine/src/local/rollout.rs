//! From one revision to the next, without a moment in which nobody answers.

use std::sync::Arc;

use futures_util::future::join_all;
use hob_model::port::EngineError;
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    fleet::Fleet,
    plan::{Plan, Program},
    ready::{Started, cancelled, start},
    retire::{Farewell, see_off},
    scale::ended_at_once,
};

impl Fleet {
    /// Makes `plan` answer the calls, with so many replicas awake. On failure what answered
    /// before still does. The caller holds `turn`.
    pub(super) async fn roll_out(
        self: &Arc<Self>,
        plan: Arc<Plan>,
        replicas: u32,
    ) -> Result<(), EngineError> {
        self.take_over(&plan).await;
        if self.refresh(&plan) {
            return match replicas {
                0 => Ok(()),
                more => self.scale(more).await.map(drop),
            };
        }
        let (started, replicas) = match plan.program() {
            Some(program) => (self.start_cohort(program, replicas).await?, replicas),
            None => (Vec::new(), 0),
        };
        self.swap(plan, replicas, &started).await
    }

    pub(super) fn answers_with(&self, plan: &Plan) -> bool {
        let state = self.state();
        let current = state.plan.as_ref();
        current.is_some_and(|current| current.revision.digest == plan.revision.digest)
    }

    /// Whether `plan` is what answers already, but for what no replica sees: that is taken over.
    fn refresh(&self, plan: &Arc<Plan>) -> bool {
        let mut state = self.state();
        let current = state.plan.as_ref();
        let Some(current) = current.filter(|one| one.revision.digest == plan.revision.digest)
        else {
            return false;
        };
        // A route that is new begins its canary's counters anew.
        if current.revision.settings != plan.revision.settings {
            self.open(plan);
        }
        state.plan = Some(Arc::clone(plan));
        true
    }

    /// All of them or none.
    async fn start_cohort(
        self: &Arc<Self>,
        program: &Arc<Program>,
        replicas: u32,
    ) -> Result<Vec<Started>, EngineError> {
        let cancel = self.closed.child_token();
        let starts = (0..replicas).map(|_| start_or_cancel(self, program, &cancel));
        let outcomes = join_all(starts).await;
        let (started, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        let started: Vec<Started> = started.into_iter().flatten().collect();
        // The first failure called off the others, so theirs are only its echo.
        let failures = || failed.iter().filter_map(|outcome| outcome.as_ref().err());
        let echo = cancelled(program).reason();
        let cause = failures().find(|failure| failure.reason() != echo);
        match cause.or(failures().next()) {
            None => Ok(started),
            Some(cause) => {
                discard(&started).await;
                Err(cause.clone())
            }
        }
    }

    /// The moment of the change: one lock, so that nobody sees half of it.
    async fn swap(
        self: &Arc<Self>,
        plan: Arc<Plan>,
        replicas: u32,
        started: &[Started],
    ) -> Result<(), EngineError> {
        let failed = {
            let mut state = self.state();
            let ended = started.iter().find(|one| !state.is_starting(&one.replica));
            if ended.is_none() && !self.closed.is_cancelled() {
                state.call_off();
                let leaving = state.drain_all_but(0);
                for one in started {
                    state.admit(one);
                }
                state.wanted = replicas;
                state.backoff = Backoff::Calm;
                state.last_end = None;
                state.plan = Some(Arc::clone(&plan));
                // In this order, a call always finds somebody: through the old route the new
                // replicas, through the new route no old ones.
                self.publish(&state);
                self.open(&plan);
                for one in leaving {
                    see_off(self, one, Farewell::Gentle);
                }
                // Of those that are used once, calls may wait for more.
                self.heal(&mut state);
                return Ok(());
            }
            ended
        };
        let failure = match (failed, plan.program()) {
            (Some(ended), _) => ended_at_once(ended).await,
            (None, Some(program)) => cancelled(program),
            (None, None) => EngineError::NotFound(self.name.clone()),
        };
        discard(started).await;
        Err(failure)
    }
}

async fn start_or_cancel(
    fleet: &Arc<Fleet>,
    program: &Arc<Program>,
    cancel: &CancellationToken,
) -> Result<Started, EngineError> {
    let outcome = start(fleet, program, cancel).await;
    if outcome.is_err() {
        cancel.cancel();
    }
    outcome
}

async fn discard(started: &[Started]) {
    let ends = started.iter().map(|one| async {
        one.replica.kill().await;
        one.replica.gone().await;
    });
    join_all(ends).await;
}
