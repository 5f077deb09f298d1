//! Getting a machine that has started: a free one, or a new one.

use std::{sync::Arc, time::Duration};

use hob_model::port::RunError;
use tokio::time::Instant;

use super::{
    Shared,
    api::Until,
    error::{ApiError, Problem},
    machine::Seen,
    roster::{Machine, Phase},
};
use crate::pool::Place;

/// Machines that are tried for one run.
const TRIES: u32 = 3;
/// Machines that may wait to be destroyed, beside as many as the pool has. With more of them none
/// is made, so that no bill is run up at an API that makes machines and destroys none.
const SPARE: usize = 4;

/// A machine, with the place in line that it takes. Dropping it has the machine stopped, and gives
/// the place back after that.
pub(super) struct Hired {
    shared: Arc<Shared>,
    /// There until it is dropped or exchanged.
    held: Option<(Machine, Place)>,
    fate: Fate,
}

/// What becomes of a machine when nobody has it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is as good as before.
    Return,
    /// Something is wrong with it.
    Destroy,
}

/// What is to be done before a machine is up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It stands still.
    Needed,
    /// The API starts it by itself.
    UnderWay,
}

/// Takes a name back from those of machines that are being made.
struct Making<'a> {
    shared: &'a Shared,
    name: String,
}

// === impl Hired ===

impl Hired {
    pub(super) fn new(shared: Arc<Shared>, machine: Machine, place: Place) -> Self {
        Self {
            shared,
            held: Some((machine, place)),
            fate: Fate::Return,
        }
    }

    pub(super) fn machine(&self) -> Option<&Machine> {
        self.held.as_ref().map(|(machine, _)| machine)
    }

    pub(super) fn fate(&mut self, fate: Fate) {
        self.fate = fate;
    }

    /// Has the machine destroyed, and keeps the place for another.
    pub(super) async fn exchange(mut self) -> Option<Place> {
        let (machine, place) = self.held.take()?;
        self.shared.condemn(&machine).await;
        Some(place)
    }
}

impl Drop for Hired {
    fn drop(&mut self) {
        if let Some((machine, place)) = self.held.take() {
            let (shared, fate) = (self.shared.clone(), self.fate);
            self.shared.spawn(async move {
                shared.release(machine, fate).await;
                // Only now may somebody have a machine in place of this one.
                drop(place);
            });
        }
    }
}

// === impl Shared ===

impl Shared {
    /// Gets a machine that is up, for a run of `time`. It has its own task: half-way dropped it
    /// would leave a machine behind that nobody knows.
    pub(super) async fn hire(
        self: Arc<Self>,
        mut place: Place,
        time: Duration,
    ) -> Result<Hired, RunError> {
        let since = Instant::now();
        let mut tries = 1;
        loop {
            let error = match self.next(time).await {
                Ok((machine, start)) => {
                    let hired = Hired::new(self.clone(), machine, place);
                    let error = match self.bring_up(&hired, start).await {
                        Ok(()) => return Ok(hired),
                        Err(error) => error,
                    };
                    if self.closing.is_cancelled() {
                        return Err(closed());
                    }
                    match hired.exchange().await {
                        Some(kept) => place = kept,
                        None => return Err(closed()),
                    }
                    error
                }
                Err(error) if !error.is_unsure() => return Err(unavailable(&error)),
                Err(error) => error,
            };
            if tries == TRIES || since.elapsed() >= self.config.pace.start {
                return Err(unavailable(&error));
            }
            tracing::info!("{error}: another machine is tried");
            tries += 1;
        }
    }

    /// A free machine, or else a new one.
    async fn next(&self, time: Duration) -> Result<(Machine, Start), ApiError> {
        while let Some(machine) = self.roster.take_free() {
            if let Some(machine) = self.secure(machine, time).await? {
                return Ok((machine, Start::Needed));
            }
        }
        Ok((self.make().await?, Start::UnderWay))
    }

    /// Sees to it that the lease of a machine lasts for a run. `None` where it does not, and the
    /// machine is destroyed.
    async fn secure(
        &self,
        mut machine: Machine,
        time: Duration,
    ) -> Result<Option<Machine>, ApiError> {
        let (now, needed) = (self.now(), self.needed(time));
        if machine.expires >= now + needed {
            return Ok(Some(machine));
        }
        // One that is over proves nothing, and anybody may have had the machine since.
        if machine.expires > now && machine.nonce.is_some() {
            let nonce = machine.nonce.as_deref();
            match self.api.lease(&machine.id, nonce, self.lease()).await {
                Ok(lease) => {
                    machine.expires = lease.expires_at;
                    machine.nonce = Some(lease.nonce);
                    self.roster.renew(&machine).await;
                    if machine.expires >= now + needed {
                        return Ok(Some(machine));
                    }
                }
                Err(error) if error.is_conflict() || error.is_gone() => {
                    tracing::warn!("{error}: the machine is given up");
                }
                Err(error) => {
                    // Nothing is wrong with the machine.
                    self.roster.turn(&machine.id, Phase::Busy, Phase::Free);
                    return Err(error);
                }
            }
        }
        self.condemn(&machine).await;
        Ok(None)
    }

    /// Makes a machine.
    async fn make(&self) -> Result<Machine, ApiError> {
        let making = Making::new(self)?;
        let debt = self.roster.count(Phase::Doomed);
        if debt >= self.line.size() + SPARE {
            let problem = Problem::Debt(debt);
            return Err(making.failed(problem));
        }
        let (now, lease) = (self.now(), self.lease());
        let region = &self.config.region;
        let order = self.recipe.order(&making.name, region, lease);
        let made = match self.api.create(&making.name, order).await {
            Ok(seen) => seen,
            Err(error) if error.is_unsure() => match self.find(&making.name).await {
                Some(seen) => seen,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        };
        let mut machine = self.ours(made, now + lease);
        self.roster.add(machine.clone(), Phase::Busy).await;
        if machine.nonce.is_none() {
            match self.api.lease(&machine.id, None, lease).await {
                Ok(given) => {
                    machine.nonce = Some(given.nonce);
                    machine.expires = given.expires_at;
                    self.roster.renew(&machine).await;
                }
                Err(error) => {
                    // Leased, and by nobody who can prove it. Another one may fare better.
                    self.condemn(&machine).await;
                    let problem = Problem::Unanswered(error.to_string());
                    return Err(making.failed(problem));
                }
            }
        }
        Ok(machine)
    }

    /// The machine of a name, if it was made after all.
    async fn find(&self, name: &str) -> Option<Seen> {
        match self.api.list(&self.config.region).await {
            Ok(seen) => seen
                .into_iter()
                .find(|seen| seen.name == name && !seen.state.is_gone()),
            Err(error) => {
                tracing::warn!("{error}: whether {name} was made is seen later");
                None
            }
        }
    }

    /// What is written down of a machine.
    pub(super) fn ours(&self, seen: Seen, expires: u64) -> Machine {
        Machine {
            created: seen.created().unwrap_or_else(|| self.now()),
            id: seen.id,
            name: seen.name,
            instance: seen.instance_id,
            make: self.recipe.make(),
            region: self.config.region.clone(),
            nonce: seen.nonce,
            expires,
        }
    }

    /// Starts a machine if need be, and waits until it has.
    async fn bring_up(&self, hired: &Hired, start: Start) -> Result<(), ApiError> {
        let Some(machine) = hired.machine() else {
            return Ok(());
        };
        let up = async {
            if start == Start::Needed {
                let nonce = machine.nonce.as_deref().unwrap_or_default();
                self.api.start(&machine.id, nonce).await?;
            }
            let started = Until::Started;
            self.api.wait(&machine.id, &machine.instance, started).await
        };
        tokio::select! {
            up = up => up,
            () = self.closing.cancelled() => Err(ApiError {
                step: format!("start machine {}", machine.id),
                problem: Problem::Closed,
            }),
        }
    }
}

// === impl Making ===

impl<'a> Making<'a> {
    fn new(shared: &'a Shared) -> Result<Self, ApiError> {
        let number = getrandom::u64().map_err(|error| ApiError {
            step: "name a machine".into(),
            problem: Problem::Unreachable(error.to_string()),
        })?;
        let name = shared.config.pool.machine(number);
        shared.making().insert(name.clone());
        Ok(Self { shared, name })
    }

    fn failed(&self, problem: Problem) -> ApiError {
        let step = format!("make {}", self.name);
        ApiError { step, problem }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.shared.making().remove(&self.name);
    }
}

/// What whoever wanted something run is told; the rest is for the log.
fn unavailable(error: &ApiError) -> RunError {
    tracing::warn!("{error}");
    RunError::Unavailable(error.for_callers())
}

pub(super) fn closed() -> RunError {
    RunError::Unavailable("the pool is closed".into())
}
