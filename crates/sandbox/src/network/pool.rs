//! Namespaces that are ready, on their way and leased.

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{
    NetworkConfig, Outbound, bridge,
    namespace::{Namespace, Place},
};
use crate::SandboxError;

/// Shared by the network, its maker of spares, and each leased namespace.
#[derive(Debug)]
pub(super) struct Pool {
    config: NetworkConfig,
    /// Whether the bridge is there; locked while it is being made.
    bridge: Mutex<bool>,
    state: Mutex<State>,
    /// Rung whenever `state` has changed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Ready, and nobody's.
    spares: Vec<Place>,
    /// Kinds that were asked for.
    wanted: Vec<Outbound>,
    /// Numbers in use: of those with a way out, and of those without.
    used: [BTreeSet<u32>; 2],
    /// The number that was given out last, of either kind.
    last: [u32; 2],
    /// Namespaces that are being made or removed right now.
    busy: usize,
    /// The last spare could not be made: not tried again until somebody asks.
    stalled: bool,
    /// Everything is about to be removed.
    closed: bool,
}

/// Holds off the removal of everything while one namespace is being made or removed.
struct Busy<'a>(&'a Pool);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.changed.notify_all();
    }
}

// === impl Pool ===

impl Pool {
    pub(super) fn new(config: NetworkConfig) -> Self {
        Self {
            config,
            bridge: Mutex::default(),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(super) fn prepare(&self, outbound: Outbound) {
        self.state().want(outbound);
        self.changed.notify_all();
    }

    pub(super) fn lease(pool: &Arc<Self>, outbound: Outbound) -> Result<Namespace, SandboxError> {
        let spare = pool.state().take(outbound);
        pool.changed.notify_all();
        let place = match spare {
            Some(place) => place,
            None => pool.make(outbound)?,
        };
        Ok(Namespace::new(place, Arc::clone(pool)))
    }

    /// Takes over what an earlier daemon leased.
    pub(super) fn adopt(pool: &Arc<Self>, path: &Path) -> Result<Namespace, SandboxError> {
        let place = Place::find(&pool.config, path)?;
        if place.outbound == Outbound::Yes {
            let mut made = pool.bridge.lock().unwrap_or_else(PoisonError::into_inner);
            if !*made {
                bridge::renew(&pool.config)?;
                *made = true;
            }
        }
        pool.state().occupy(place);
        Ok(Namespace::new(place, Arc::clone(pool)))
    }

    /// Removes what was leased. An error leaves the number in use, and all to the next sweep.
    pub(super) fn give_back(&self, place: Place) {
        // Else it is removed with all others.
        let Ok(_busy) = self.busy() else {
            return;
        };
        match place.remove(&self.config) {
            Ok(()) => self.state().free(place),
            Err(error) => tracing::warn!(?place, %error, "cannot remove a network namespace"),
        }
    }

    /// Makes spares until the pool is closed.
    pub(super) fn keep_spares(&self) {
        while let Some(outbound) = self.next_spare() {
            match self.make(outbound) {
                Ok(place) => self.state().spares.push(place),
                Err(error) => {
                    self.state().stalled = true;
                    tracing::warn!(%error, "cannot prepare a network namespace");
                }
            }
        }
    }

    /// Lets nothing more be made, and waits for what is on its way.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.changed.notify_all();
        while state.busy > 0 {
            state = self.wait(state);
        }
    }

    /// Waits until a spare is missing; `None` when the pool is closed.
    fn next_spare(&self) -> Option<Outbound> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some(outbound) = state.missing(self.config.spares) {
                return Some(outbound);
            }
            state = self.wait(state);
        }
    }

    fn make(&self, outbound: Outbound) -> Result<Place, SandboxError> {
        let _busy = self.busy()?;
        if outbound == Outbound::Yes {
            self.make_bridge()?;
        }
        let numbers = self.config.subnet.numbers();
        let number = self.state().number(outbound, numbers);
        let number = number.ok_or_else(|| {
            SandboxError::Network(format!(
                "all addresses of {} are in use: set a larger `subnet`",
                self.config.subnet
            ))
        })?;
        let place = Place { outbound, number };
        match place.make(&self.config) {
            Ok(()) => Ok(place),
            Err(error) => {
                self.give_back(place);
                Err(error)
            }
        }
    }

    fn make_bridge(&self) -> Result<(), SandboxError> {
        let mut made = self.bridge.lock().unwrap_or_else(PoisonError::into_inner);
        if !*made {
            bridge::make(&self.config)?;
            *made = true;
        }
        Ok(())
    }

    fn busy(&self) -> Result<Busy<'_>, SandboxError> {
        let mut state = self.state();
        if state.closed {
            return Err(SandboxError::Network("it has been shut down".into()));
        }
        state.busy += 1;
        Ok(Busy(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl State ===

impl State {
    fn want(&mut self, outbound: Outbound) {
        self.stalled = false;
        if !self.wanted.contains(&outbound) {
            self.wanted.push(outbound);
        }
    }

    fn take(&mut self, outbound: Outbound) -> Option<Place> {
        self.want(outbound);
        let found = self
            .spares
            .iter()
            .position(|place| place.outbound == outbound);
        found.map(|index| self.spares.swap_remove(index))
    }

    fn missing(&self, most: usize) -> Option<Outbound> {
        let ready = |outbound: &Outbound| {
            let spares = self.spares.iter();
            spares.filter(|place| place.outbound == *outbound).count()
        };
        let mut wanted = self.wanted.iter().copied();
        wanted.find(|outbound| !self.stalled && ready(outbound) < most)
    }

    /// One that is free, and was not just used: the world may still send to it.
    fn number(&mut self, outbound: Outbound, numbers: RangeInclusive<u32>) -> Option<u32> {
        let (used, last) = (
            &mut self.used[outbound as usize],
            &mut self.last[outbound as usize],
        );
        let later = (*last).max(*numbers.start() - 1) + 1..=*numbers.end();
        let number = later.chain(numbers).find(|number| !used.contains(number))?;
        used.insert(number);
        *last = number;
        Some(number)
    }

    fn occupy(&mut self, place: Place) {
        let last = &mut self.last[place.outbound as usize];
        *last = place.number.max(*last);
        self.used[place.outbound as usize].insert(place.number);
    }

    fn free(&mut self, place: Place) {
        self.used[place.outbound as usize].remove(&place.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        let mut state = State::default();
        let mut next = || state.number(Outbound::Yes, 2..=4);
        assert_eq!([next(), next()], [Some(2), Some(3)]);
        state.free(Place {
            outbound: Outbound::Yes,
            number: 2,
        });
        let mut next = || state.number(Outbound::Yes, 2..=4);
        assert_eq!([next(), next(), next()], [Some(4), Some(2), None]);
        assert_eq!(state.number(Outbound::No, 2..=4), Some(2));
    }
}
