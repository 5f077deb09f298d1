use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hob_model::{
    EndReason, FleetName, FunctionName, ReplicaId, Target,
    port::{Engine, EngineError, Wake, WakeError},
};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    Control,
    metrics::{Metrics, Tier},
};

/// After a start that failed, calls get its error at once for so long. Doubles with each
/// failure in a row, so that a broken function under load costs next to nothing.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause: a cause that somebody mended is noticed within it.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// How a start went; `None` while it is under way.
type Outcome = Option<Result<(), WakeError>>;

/// The starts under way, each shared by all calls that wait for it, and those that failed.
#[derive(Default)]
pub(crate) struct Wakes(Mutex<HashMap<FleetName, Attempt>>);

enum Attempt {
    UnderWay {
        outcome: watch::Receiver<Outcome>,
        /// The pause should this one fail.
        pause: Duration,
    },
    Failed {
        error: WakeError,
        until: Instant,
        pause: Duration,
    },
}

// === impl Control ===

#[async_trait]
impl Wake for Control {
    async fn wake(&self, fleet: &FleetName) -> Result<(), WakeError> {
        let function = &fleet.function;
        let Some(deployed) = self.deployed.get(function) else {
            return Err(error(&EngineError::NotFound(function.clone()), function));
        };
        if self.loss(function).is_some() {
            return Err(WakeError {
                reason: EndReason::Host,
                message: format!(
                    "function `{function}` cannot run: its machine has lost a part of it"
                )
                .into(),
            });
        }
        let (fleet, (revision, by_hand)) = match deployed.answering(fleet.track) {
            Some(answering) => (fleet.clone(), answering),
            // A canary that has ended.
            None => (
                FleetName::stable(function),
                (&deployed.revision, deployed.replicas),
            ),
        };
        let least = *revision.settings.scaling().range(by_hand).start();
        // All that were needed a moment ago, as long as they are here: those that are too many go
        // when fewer have been enough for a while.
        let replicas = least.max(self.frozen(&fleet));
        let mut outcome = self.wakes.join(&fleet, |report| {
            let start = Start {
                wakes: Arc::clone(&self.wakes),
                metrics: Arc::clone(&self.metrics),
                engine: Arc::clone(&self.engine),
                fleet: fleet.clone(),
                replicas,
            };
            start.begin(&self.config.runtime, report);
        })?;
        let outcome = outcome.wait_for(Option::is_some).await;
        match outcome.as_deref() {
            Ok(Some(result)) => result.clone(),
            Ok(None) | Err(_) => Err(WakeError {
                reason: EndReason::Cancelled,
                message: format!("function `{function}` was not started: hob is stopping").into(),
            }),
        }
    }

    fn condemn(&self, function: &FunctionName, replica: &ReplicaId, why: EndReason) {
        let (engine, name, replica) = (Arc::clone(&self.engine), function.clone(), replica.clone());
        self.config.runtime.spawn(async move {
            engine.condemn(&name, &replica, why).await;
        });
    }
}

impl Control {
    /// Replicas that stand still.
    fn frozen(&self, fleet: &FleetName) -> u32 {
        let route = self.routes.of(fleet);
        match route.as_ref().map(|route| &route.target) {
            Some(Target::Replicas(replicas)) => {
                u32::try_from(replicas.frozen().len()).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }
}

// === impl Wakes ===

impl Wakes {
    /// Joins the start under way, or makes `begin` begin one; a recent failure is the answer.
    fn join(
        &self,
        name: &FleetName,
        begin: impl FnOnce(watch::Sender<Outcome>),
    ) -> Result<watch::Receiver<Outcome>, WakeError> {
        let mut attempts = self.lock();
        let pause = match attempts.get(name) {
            Some(Attempt::UnderWay { outcome, .. }) => return Ok(outcome.clone()),
            Some(Attempt::Failed { error, until, .. }) if Instant::now() < *until => {
                return Err(error.clone());
            }
            Some(Attempt::Failed { pause, .. }) => (*pause * 2).min(LONGEST_PAUSE),
            None => FIRST_PAUSE,
        };
        let (report, outcome) = watch::channel(None);
        let under_way = Attempt::UnderWay {
            outcome: outcome.clone(),
            pause,
        };
        attempts.insert(name.clone(), under_way);
        begin(report);
        Ok(outcome)
    }

    /// Notes how the start under way went.
    fn settle(&self, name: &FleetName, result: &Result<(), WakeError>) {
        let mut attempts = self.lock();
        let Some(Attempt::UnderWay { pause, .. }) = attempts.remove(name) else {
            return;
        };
        if let Err(error) = result {
            let failed = Attempt::Failed {
                error: error.clone(),
                until: Instant::now() + pause,
                pause,
            };
            attempts.insert(name.clone(), failed);
        }
    }

    /// Forgets that starts failed, since something about the function has changed.
    pub(crate) fn forgive(&self, function: &FunctionName) {
        let mut attempts = self.lock();
        attempts.retain(|fleet, attempt| {
            fleet.function != *function || !matches!(attempt, Attempt::Failed { .. })
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FleetName, Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One start, in a task of its own: a caller that gives up takes nothing away from the others.
struct Start {
    wakes: Arc<Wakes>,
    metrics: Arc<Metrics>,
    engine: Arc<dyn Engine>,
    fleet: FleetName,
    replicas: u32,
}

impl Start {
    fn begin(self, runtime: &Handle, report: watch::Sender<Outcome>) {
        let begun = Instant::now();
        let (engine, fleet, replicas) = (self.engine, self.fleet.clone(), self.replicas);
        let scale = runtime.spawn(async move { engine.scale(&fleet, replicas).await });
        let (wakes, metrics, fleet) = (self.wakes, self.metrics, self.fleet);
        runtime.spawn(async move {
            let scaled = match scale.await {
                Ok(scaled) => scaled,
                Err(panic) => Err(EngineError::Host(panic.to_string())),
            };
            // It has not failed: it ended, or another took its place.
            let is_gone = matches!(scaled, Err(EngineError::NotFound(_)));
            let result = match scaled {
                Ok(effort) => {
                    // With none missing, somebody else has woken it.
                    if let Some(tier) = Tier::of(effort) {
                        metrics.wakings.woke(&fleet, tier, begun.elapsed());
                    }
                    Ok(())
                }
                Err(failure) => Err(error(&failure, &fleet.function)),
            };
            wakes.settle(&fleet, &result);
            if is_gone {
                wakes.forgive(&fleet.function);
            }
            // Fails only when every caller has left.
            let _ = report.send(Some(result));
        });
    }
}

/// What callers may read; the rest goes to the log, once per start.
fn error(failure: &EngineError, name: &FunctionName) -> WakeError {
    let message = match failure {
        EngineError::Host(detail) => {
            tracing::error!("function `{name}` did not start: {detail}");
            format!("function `{name}` did not start because its machine failed")
        }
        EngineError::NotFound(_) | EngineError::NoInstance { .. } => failure.to_string(),
        EngineError::Start { .. } | EngineError::Unsupported(_) => {
            tracing::warn!("function `{name}` did not start: {failure}");
            failure.to_string()
        }
    };
    WakeError {
        reason: failure.reason(),
        message: message.into(),
    }
}
