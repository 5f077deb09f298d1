//! More or fewer replicas of one revision, and the one start that all who wait share.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use hob_model::{
    End, EndReason,
    port::{Effort, EngineError},
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    fleet::{Fleet, State},
    phase::Leaving,
    plan::{Program, check_replicas},
    ready::{Started, cancelled, start},
    retire::{Farewell, see_off},
};

/// A pause that is longer than this is not waited for by those who ask for a start.
const PATIENCE: Duration = Duration::from_secs(1);
/// The start of the replicas that are missing. It goes on when those who wait go away.
#[derive(Debug)]
pub(super) struct Attempt {
    outcome: Outcome,
    cancel: CancellationToken,
    /// How many replicas are wanted if this fails: what was wanted before somebody asked.
    fallback: u32,
}

/// `None` until the attempt has ended.
type Outcome = watch::Receiver<Option<Result<Effort, EngineError>>>;
/// The other side of it.
pub(super) type Tell = watch::Sender<Option<Result<Effort, EngineError>>>;

/// What there is to do to get to a number of replicas.
enum Step {
    Done,
    /// Wait for this start.
    More(Outcome),
    /// A start is being called off; it has to end before the rest can be decided.
    Settle(Outcome),
}

impl Fleet {
    /// Runs so many replicas; returns when they take calls, or take none any more.
    pub(super) async fn scale(self: &Arc<Self>, replicas: u32) -> Result<Effort, EngineError> {
        check_replicas(&self.name, replicas)?;
        self.check_patience(replicas)?;
        let mut effort = Effort::None;
        loop {
            let step = self.step_to(&mut self.state(), replicas)?;
            match step {
                Step::Done => return Ok(effort),
                Step::Settle(outcome) => {
                    settled(outcome).await;
                    // Callers may have woken it again; that is theirs to decide.
                    if replicas == 0 {
                        return Ok(effort);
                    }
                }
                Step::More(mut outcome) => match wait_for(&mut outcome).await {
                    Err(failure) if failure.reason() != EndReason::Cancelled => {
                        return Err(failure);
                    }
                    Ok(made) => {
                        effort = effort.max(made);
                        // Whoever has asked for more meanwhile keeps it.
                        if self.has_enough(replicas) {
                            return Ok(effort);
                        }
                        // An outcome that is there already is that of one of several.
                        let _ = outcome.changed().await;
                    }
                    // Called off, for another revision or number: see what is to do now.
                    Err(_) => {}
                },
            }
        }
    }

    /// Asks for so many replicas where there are some, or some are on their way; waits for nothing.
    pub(super) fn adjust(self: &Arc<Self>, replicas: u32) -> Result<(), EngineError> {
        let replicas = replicas.max(1);
        check_replicas(&self.name, replicas)?;
        let mut state = self.state();
        // Under one lock with the rest: somebody may just have put it to sleep.
        if state.wanted == 0 {
            return Ok(());
        }
        if state.attempt.is_some() && replicas < state.wanted {
            // Those that are on their way come; what is too many then goes.
            state.wanted = replicas;
            return Ok(());
        }
        self.step_to(&mut state, replicas).map(drop)
    }

    /// Nobody is to wait long, and in the end for nothing, for a program that keeps ending.
    fn check_patience(&self, replicas: u32) -> Result<(), EngineError> {
        let state = self.state();
        let pause = state.backoff.pause();
        let fewer = replicas == 0 || replicas < state.wanted;
        if fewer || pause < PATIENCE || state.ready_count() + state.frozen_count() > 0 {
            return Ok(());
        }
        let (reason, how) = match &state.last_end {
            Some(end) => (end.reason, end.message.as_str()),
            None => (EndReason::Exit, "it told no reason"),
        };
        // A start that failed has named the function already.
        let named = format!("function `{}` ", self.name);
        let how = how.strip_prefix(&named).unwrap_or(how);
        Err(EngineError::Start {
            reason,
            message: format!(
                "{named}keeps ending ({how}) and is started again in {} s",
                pause.as_secs().max(1)
            ),
            log_tail: Vec::new(),
        })
    }

    fn step_to(self: &Arc<Self>, state: &mut State, replicas: u32) -> Result<Step, EngineError> {
        if self.host.closing.is_cancelled() {
            return Err(stopping());
        }
        let plan = state.plan.clone().filter(|_| !self.closed.is_cancelled());
        let plan = plan.ok_or_else(|| EngineError::NotFound(self.name.clone()))?;
        if plan.program().is_none() {
            return Ok(Step::Done);
        }
        let before = std::mem::replace(&mut state.wanted, replicas);
        let leaving = state.drain_all_but(self.kept(state, replicas));
        self.see_all_off(state, leaving);
        self.show_supply(state);
        self.stir.notify_one();
        Ok(match &state.attempt {
            Some(attempt) if replicas < before => {
                attempt.cancel.cancel();
                Step::Settle(attempt.outcome.clone())
            }
            _ if self.missing(state) == 0 => Step::Done,
            Some(attempt) => Step::More(attempt.outcome.clone()),
            None => Step::More(self.begin(state, before)),
        })
    }

    /// Takes out of service what is more than wanted.
    fn trim(self: &Arc<Self>, state: &mut State) {
        let leaving = state.drain_down_to(self.kept(state, state.wanted));
        self.see_all_off(state, leaving);
    }

    fn see_all_off(self: &Arc<Self>, state: &State, leaving: Vec<Leaving>) {
        if leaving.is_empty() {
            return;
        }
        self.publish(state);
        for one in leaving {
            see_off(self, one, Farewell::Gentle);
        }
    }

    /// Starts what is missing, if nobody is at it already, whoever asked for it.
    pub(super) fn heal(self: &Arc<Self>, state: &mut State) {
        let missing = self.missing(state) > 0;
        let runs = state
            .plan
            .as_ref()
            .is_some_and(|plan| plan.program().is_some());
        if missing && runs && state.attempt.is_none() && !self.closed.is_cancelled() {
            let wanted = state.wanted;
            self.begin(state, wanted);
        }
    }

    fn begin(self: &Arc<Self>, state: &mut State, fallback: u32) -> Outcome {
        let (tell, outcome) = watch::channel(None);
        let cancel = self.closed.child_token();
        state.attempt = Some(Attempt {
            outcome: outcome.clone(),
            cancel: cancel.clone(),
            fallback,
        });
        let (fleet, starter, early) = (Arc::clone(self), Arc::clone(self), tell.clone());
        tokio::spawn(async move {
            // In a task of its own, so that even a panic ends the attempt and not the function.
            let start = tokio::spawn(async move { starter.start_missing(&cancel, &early).await });
            let result = start.await.unwrap_or_else(|panic| {
                Err(EngineError::Host(format!(
                    "function `{}`: start: {panic}",
                    fleet.name
                )))
            });
            fleet.conclude(&result);
            tell.send_replace(Some(result));
        });
        outcome
    }

    /// First those that are here and frozen, at once.
    async fn start_missing(
        self: &Arc<Self>,
        cancel: &CancellationToken,
        tell: &Tell,
    ) -> Result<Effort, EngineError> {
        let effort = match self.thaw_missing().await {
            0 => Effort::None,
            _ => Effort::Thawed,
        };
        let (pause, missing) = {
            let mut state = self.state();
            // Whatever becomes of the others, these are there.
            let ready = state.ready_count();
            if let Some(attempt) = &mut state.attempt {
                attempt.keep(ready);
            }
            if ready > 0 && state.is_used_once() {
                // They may be gone by the time when the others are there.
                tell.send_replace(Some(Ok(effort)));
            }
            (state.backoff.pause(), self.missing(&state))
        };
        if missing == 0 {
            return Ok(effort);
        }
        let called_off = cancel.run_until_cancelled(sleep(pause)).await.is_none();
        let (program, missing) = {
            let state = self.state();
            let program = state.plan.as_ref().and_then(|plan| plan.program());
            let Some(program) = program.map(Arc::clone) else {
                return Ok(effort);
            };
            (program, self.missing(&state))
        };
        if called_off {
            return Err(cancelled(&program));
        }
        if program.is_used_once() {
            return self.stock(cancel, tell).await;
        }
        let starts = (0..missing).map(|_| self.start_and_admit(&program, cancel));
        let started: Result<(), _> = join_all(starts).await.into_iter().collect();
        started.map(|()| Effort::Started)
    }

    pub(super) async fn start_and_admit(
        self: &Arc<Self>,
        program: &Arc<Program>,
        cancel: &CancellationToken,
    ) -> Result<(), EngineError> {
        let started = start(self, program, cancel).await?;
        let admitted = {
            let mut state = self.state();
            // Cancelled under this very lock, so that nothing slips in after.
            let admitted = !cancel.is_cancelled() && state.admit(&started);
            self.publish(&state);
            admitted
        };
        if admitted {
            return Ok(());
        }
        let called_off = cancel.is_cancelled();
        Err(if called_off {
            started.replica.kill().await;
            started.replica.gone().await;
            cancelled(program)
        } else {
            ended_at_once(&started).await
        })
    }

    fn conclude(self: &Arc<Self>, result: &Result<Effort, EngineError>) {
        let mut state = self.state();
        let Some(attempt) = state.attempt.take() else {
            return;
        };
        if let Err(failure) = result
            && failure.reason() != EndReason::Cancelled
        {
            state.backoff.failed();
            state.last_end = Some(End::new(failure.reason(), failure.to_string()));
            state.wanted = state.wanted.min(attempt.fallback);
            if state.wanted > 0 {
                let pause = state.backoff.pause();
                tracing::warn!(function = %self.name, %failure, ?pause, "will start it again");
            }
            // Who waits for a fresh one learns that none comes by itself.
            self.publish(&state);
        }
        self.trim(&mut state);
        self.heal(&mut state);
    }
}

/// The replica listened and ended before anybody could call it.
pub(super) async fn ended_at_once(started: &Started) -> EngineError {
    let end = started.replica.ended().await;
    let name = &started.replica.program.function;
    EngineError::Start {
        reason: EndReason::Exit,
        message: format!(
            "function `{name}` ended as soon as it listened: {}",
            end.message
        ),
        log_tail: super::logs::last_words(&started.replica.log),
    }
}

async fn wait_for(outcome: &mut Outcome) -> Result<Effort, EngineError> {
    match outcome.wait_for(Option::is_some).await.as_deref() {
        Ok(Some(result)) => result.clone(),
        // Only at the end of the runtime are tasks dropped half-way.
        Ok(None) | Err(_) => Err(stopping()),
    }
}

/// Waits for the very end, which may come after a first success was told.
async fn settled(mut outcome: Outcome) {
    while outcome.changed().await.is_ok() {}
}

pub(super) fn stopping() -> EngineError {
    EngineError::Host("hob is stopping".into())
}

// === impl Attempt ===

impl Attempt {
    /// Keeps so many replicas wanted, even if the rest of it fails.
    pub(super) fn keep(&mut self, replicas: u32) {
        self.fallback = self.fallback.max(replicas);
    }
}

// === impl State ===

impl State {
    /// Calls off a start under way, whose revision is not wanted any more.
    pub(super) fn call_off(&self) {
        if let Some(attempt) = &self.attempt {
            attempt.cancel.cancel();
        }
    }

    /// The start under way, to wait for its end.
    pub(super) fn settling(&self) -> Option<impl Future<Output = ()> + use<>> {
        let attempt = self.attempt.as_ref()?;
        Some(settled(attempt.outcome.clone()))
    }
}
