//! Looking after all machines of the region: what an earlier hob left, what is idle for too long,
//! what other pools have forgotten.
//!
//! Whose a machine is says the roster. Of the others a name only tells what to try, and the lease,
//! which the API gives to one at a time, whether it may be done. Metadata proves nothing: the
//! programs in a machine can write it. It only keeps those alive that never had any.

use std::{collections::HashMap, sync::Arc};

use futures_util::FutureExt;
use tokio::time::sleep;

use super::{
    Reuse, Shared,
    error::ApiError,
    hire::Hired,
    machine::{MachineId, MachineState, Seen},
    name::Kin,
    roster::{Entry, Machine, Phase},
};
use crate::pool::Place;

/// For how long a machine of another pool is leased to be destroyed, in seconds.
const BRIEFLY: u64 = 60;

/// Looks after the machines until the pool ends.
pub(super) async fn keep_clean(shared: Arc<Shared>) {
    let work = async {
        loop {
            shared.claim_left();
            if let Err(error) = shared.clean().await {
                tracing::warn!("{error}: no machine is looked after until the next time");
            }
            sleep(shared.config.pace.clean).await;
        }
    };
    tokio::select! {
        () = work => {}
        () = shared.ended.cancelled() => {}
    }
}

impl Shared {
    /// Goes on with machines that an earlier hob left, as far as there is room, and has the others
    /// destroyed.
    pub(super) fn claim_left(self: &Arc<Self>) {
        for machine in self.roster.all(Phase::Left) {
            let good = self.keeps(&machine) && machine.expires > self.now();
            match good.then(|| self.room()).flatten() {
                Some(place) => {
                    self.roster.turn(&machine.id, Phase::Left, Phase::Busy);
                    self.spawn(self.clone().adopt(machine, place));
                }
                None => {
                    self.roster.turn(&machine.id, Phase::Left, Phase::Doomed);
                    self.doomed.notify_one();
                }
            }
        }
    }

    /// A place for one more machine, without waiting for it.
    fn room(&self) -> Option<Place> {
        let place = self.line.enter("").now_or_never()?.ok()?;
        let (taken, _) = self.line.standing();
        let free = self.roster.count(Phase::Free);
        (taken + free <= self.line.size()).then_some(place)
    }

    /// Goes on with a machine of the roster, if its lease is still ours.
    async fn adopt(self: Arc<Self>, mut machine: Machine, place: Place) {
        let nonce = machine.nonce.as_deref();
        let leased = match nonce {
            Some(_) => self.api.lease(&machine.id, nonce, self.lease()).await,
            None => return self.condemn(&machine).await,
        };
        match leased {
            Ok(lease) => {
                machine.nonce = Some(lease.nonce);
                machine.expires = lease.expires_at;
                self.roster.renew(&machine).await;
                tracing::info!("machine {} is taken over", machine.id);
                // As after a run: it may have one.
                drop(Hired::new(self.clone(), machine, place));
            }
            Err(error) if error.is_conflict() || error.is_gone() => {
                tracing::warn!("{error}: the machine is given up");
                self.condemn(&machine).await;
            }
            Err(error) => {
                tracing::warn!("{error}: it is tried again");
                self.roster.turn(&machine.id, Phase::Busy, Phase::Left);
            }
        }
    }

    /// Looks at all machines of the region once.
    async fn clean(self: &Arc<Self>) -> Result<(), ApiError> {
        let known = self.roster.entries_now();
        let seen = self.api.list(&self.config.region).await?;
        let by_id: HashMap<&MachineId, &Seen> = seen.iter().map(|seen| (&seen.id, seen)).collect();
        for entry in known.iter().filter(|entry| entry.phase == Phase::Free) {
            self.check(entry, by_id.get(&entry.machine.id).copied())
                .await;
        }
        for seen in seen.into_iter().filter(|seen| !seen.state.is_gone()) {
            if self.knows(&seen) {
                continue;
            }
            let done = match self.config.pool.kin(&seen.name) {
                Kin::Ours => self.claim(seen).await,
                Kin::Foreign => self.bury(seen).await,
                Kin::Stranger => Ok(()),
            };
            match done {
                // Somebody has it, or has destroyed it.
                Err(error) if error.is_conflict() || error.is_gone() => {
                    tracing::debug!("{error}: it is left alone");
                }
                Err(error) => tracing::warn!("{error}: it is tried again"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Whether a machine is written down, or is about to be.
    fn knows(&self, seen: &Seen) -> bool {
        // In this order: a machine that has just been made is in the roster before its name is
        // taken back.
        let making = self.making().contains(&seen.name);
        let known = self.roster.entries_now();
        making || known.iter().any(|entry| entry.machine.id == seen.id)
    }

    /// Whether a free machine is still what it is thought to be.
    async fn check(&self, entry: &Entry, seen: Option<&Seen>) {
        let machine = &entry.machine;
        let over = machine.expires <= self.now();
        let gone = match seen {
            Some(seen) => seen.state.is_gone(),
            None => match self.api.get(&machine.id).await {
                Ok(seen) => seen.state.is_gone(),
                Err(error) => error.is_gone(),
            },
        };
        let odd = seen.is_some_and(|seen| {
            let still = [MachineState::Stopped, MachineState::Stopping].contains(&seen.state);
            !still || seen.instance_id != machine.instance
        });
        if !(over || gone || odd) {
            return;
        }
        if self.roster.doom_unchanged(&machine.id, entry.stamp) {
            if odd && !gone {
                tracing::warn!(
                    "machine {} was changed by somebody else: it is destroyed",
                    machine.id
                );
            }
            self.doomed.notify_one();
            self.roster.save().await;
        }
    }

    /// Takes a machine that is named as ours are and written down nowhere, as when the roster was
    /// lost. Its lease proves that nobody else has it, and what it is made of is looked at only
    /// under that.
    async fn claim(self: &Arc<Self>, seen: Seen) -> Result<(), ApiError> {
        let lease = self.api.lease(&seen.id, None, self.lease()).await?;
        let seen = self.api.get(&seen.id).await?;
        let good = self.config.reuse == Reuse::Stopped
            && self.recipe.fits(&seen)
            && lease.expires_at >= self.now() + self.needed(self.config.limits.time.0);
        let mut machine = self.ours(seen, lease.expires_at);
        machine.nonce = Some(lease.nonce);
        match good.then(|| self.room()).flatten() {
            Some(place) => {
                tracing::info!("machine {} is taken over by its name", machine.id);
                self.roster.add(machine.clone(), Phase::Busy).await;
                drop(Hired::new(self.clone(), machine, place));
            }
            None => {
                tracing::info!("machine {} is of no use and is destroyed", machine.id);
                self.roster.add(machine, Phase::Doomed).await;
                self.doomed.notify_one();
            }
        }
        Ok(())
    }

    /// Destroys a machine of another pool that is older than a lease, that nobody has leased and that
    /// says itself that it is of a pool.
    async fn bury(&self, seen: Seen) -> Result<(), ApiError> {
        let old = seen
            .created()
            .is_some_and(|created| created + self.lease() <= self.now());
        if !old || !seen.is_of_a_pool() {
            return Ok(());
        }
        let lease = self.api.lease(&seen.id, None, BRIEFLY).await?;
        tracing::info!(
            "machine {} ({}) was left and is destroyed",
            seen.id,
            seen.name
        );
        self.api.destroy(&seen.id, Some(&lease.nonce)).await
    }
}
