//! A pool of workers on other machines.

mod hold;
mod stalls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hob_model::{
    port::{PoolStanding, RunError, Sandboxes, StartedRun},
    sandbox::{Language, RunMaxima, RunOrder},
};
use http::HeaderMap;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    Held, Line, Place, Protocol, SigningKey, WorkerAddress, WorkerClient, WorkerError, WorkerId,
    worker::{ClientError, settle},
};
use hold::Hold;
use stalls::Stalls;

/// How long runs that nobody reads any more are waited for when the pool is closed.
const CLOSE: Duration = Duration::from_secs(1);
/// When those come again who find all workers busy with others' runs.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Which workers there are and what a run may use.
#[derive(Debug)]
pub struct WorkersConfig {
    /// At least one.
    pub workers: Vec<WorkerConfig>,
    /// What all of them speak: it decides what can be run and how it is caged, so that they do
    /// not differ in it.
    pub protocol: Protocol,
    /// What authorises runs; none where the network lets nobody else through.
    pub key: Option<SigningKey>,
    /// The most that a run may use.
    pub limits: RunMaxima,
    /// Most callers that wait for a worker.
    pub queue: usize,
    /// What an order may be in.
    pub languages: Vec<Language>,
}

/// One worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerConfig {
    /// Where it is: `http://10.0.0.2:8001`.
    pub url: String,
    /// What it calls itself.
    pub id: WorkerId,
    /// Runs that it is given at once, at least 1.
    pub slots: usize,
}

/// Has runs made by workers on other machines, each by the least busy one that is there.
#[derive(Debug)]
pub struct WorkerPool {
    client: WorkerClient,
    protocol: Protocol,
    limits: RunMaxima,
    languages: Vec<Language>,
    line: Line,
    stalls: Arc<Stalls>,
    closed: CancellationToken,
}

// === impl WorkerPool ===

impl WorkerPool {
    /// Asks no worker anything yet.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(config: WorkersConfig) -> Result<Self, ClientError> {
        let client = WorkerClient::new(config.key)?;
        let workers = config.workers.into_iter().map(|worker| {
            let address = WorkerAddress {
                url: worker.url,
                id: worker.id,
                headers: HeaderMap::new(),
            };
            (address, worker.slots.max(1))
        });
        let stalls = Stalls::new(workers);
        Ok(Self {
            client,
            protocol: config.protocol,
            limits: config.limits,
            languages: config.languages,
            line: Line::new(stalls.size(), config.queue),
            stalls: Arc::new(stalls),
            closed: CancellationToken::new(),
        })
    }

    /// Goes from worker to worker until one has taken the order.
    async fn place(
        &self,
        order: &RunOrder,
        limits: RunMaxima,
        place: Place,
        since: Instant,
    ) -> Result<StartedRun, RunError> {
        let mut tried = Vec::new();
        let mut busy = false;
        while let Some(stall) = self.stalls.take(&tried).await {
            let held = Held {
                limits,
                deadline: tokio::time::Instant::now() + limits.time.0,
                queue: since.elapsed(),
            };
            let worker = stall.worker();
            let run = self.client.run(worker, self.protocol, order, held).await;
            let error = match run {
                Ok(run) => {
                    stall.is_well();
                    let hold = Hold {
                        stall,
                        place,
                        held,
                        closed: self.closed.clone(),
                    };
                    return Ok(hold.watch(run));
                }
                Err(WorkerError::Refused(problem)) => {
                    stall.is_well();
                    return Err(RunError::Refused(problem));
                }
                Err(error) => error,
            };
            tracing::warn!(%error, "a worker does not take a run");
            busy |= matches!(error, WorkerError::Busy { .. });
            stall.rests(&error);
            if !error.nothing_ran() {
                return Err(RunError::Unavailable(
                    "the worker failed, and what became of the run is not known".into(),
                ));
            }
            tried.push(stall.number());
        }
        if busy {
            let (_, waiting) = self.line.standing();
            return Err(RunError::Full {
                size: self.line.size(),
                waiting,
                retry_after: RETRY_AFTER,
            });
        }
        Err(RunError::Unavailable("no worker can be reached now".into()))
    }
}

#[async_trait]
impl Sandboxes for WorkerPool {
    async fn run(&self, mut order: RunOrder) -> Result<StartedRun, RunError> {
        let limits = settle(&mut order, &self.limits, &self.languages, self.protocol)?;
        let since = Instant::now();
        let run = async {
            let place = self.line.enter(&order.caller).await?;
            self.place(&order, limits, place, since).await
        };
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(RunError::Unavailable("the pool is closed".into())),
            run = run => run,
        }
    }

    fn languages(&self) -> Vec<Language> {
        self.languages.clone()
    }

    fn standing(&self) -> PoolStanding {
        let (leased, waiting) = self.line.standing();
        PoolStanding {
            size: self.line.size(),
            ready: self.stalls.free(),
            leased,
            waiting,
        }
    }

    async fn close(&self) {
        self.closed.cancel();
        let _ = timeout(CLOSE, self.stalls.all_back()).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
