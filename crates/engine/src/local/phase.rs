//! Where each replica of a function stands.

use std::sync::Arc;

use hob_model::{
    Backend,
    wire::{Instance, InstanceState},
};

use super::replica::Replica;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) replica: Arc<Replica>,
    pub(super) phase: Phase,
}

/// Where a replica stands. The only ways are starting, ready, draining, and from ready to frozen
/// and back, or on to draining; it may end in each.
#[derive(Debug, Clone)]
pub(super) enum Phase {
    /// Whoever started it waits for it and answers for its end.
    Starting,
    /// Takes calls; if it ends now, that is a crash.
    Ready(Arc<Backend>),
    /// Stands still, and takes no calls until somebody wakes the function.
    Frozen(Arc<Backend>),
    /// Takes no new calls; its end is expected.
    Draining(Arc<Backend>),
}

/// A replica on its way out.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) replica: Arc<Replica>,
    pub(super) backend: Arc<Backend>,
}

// === impl Entry ===

impl Entry {
    /// No new calls from here on, if it took any.
    pub(super) fn drain(&mut self) -> Option<Leaving> {
        let backend = Arc::clone(self.backend()?);
        backend.drain();
        self.phase = Phase::Draining(Arc::clone(&backend));
        let replica = Arc::clone(&self.replica);
        Some(Leaving { replica, backend })
    }

    /// If it takes calls.
    pub(super) fn awake(&self) -> Option<(&Arc<Replica>, &Arc<Backend>)> {
        match &self.phase {
            Phase::Ready(backend) => Some((&self.replica, backend)),
            Phase::Starting | Phase::Frozen(_) | Phase::Draining(_) => None,
        }
    }

    pub(super) fn is_frozen(&self) -> bool {
        matches!(self.phase, Phase::Frozen(_))
    }

    /// From ready to frozen. Its backend pauses already.
    pub(super) fn lie_down(&mut self) {
        if let Phase::Ready(backend) = &self.phase {
            self.phase = Phase::Frozen(Arc::clone(backend));
        }
    }

    /// From frozen to ready.
    pub(super) fn get_up(&mut self) {
        if let Phase::Frozen(backend) = &self.phase {
            backend.resume();
            self.phase = Phase::Ready(Arc::clone(backend));
        }
    }

    pub(super) fn backend(&self) -> Option<&Arc<Backend>> {
        match &self.phase {
            Phase::Starting => None,
            Phase::Ready(backend) | Phase::Frozen(backend) | Phase::Draining(backend) => {
                Some(backend)
            }
        }
    }

    pub(super) fn calls(&self) -> u32 {
        self.backend().map_or(0, |backend| backend.in_flight())
    }

    pub(super) fn instance(&self) -> Instance {
        let program = &self.replica.program;
        let (memory, cpu_time) = self.replica.usage();
        Instance {
            id: self.replica.id.clone(),
            function: program.function.clone(),
            revision: program.revision.digest.clone(),
            state: match &self.phase {
                Phase::Starting => InstanceState::Starting,
                Phase::Ready(_) => InstanceState::Ready,
                Phase::Frozen(_) => InstanceState::Frozen,
                Phase::Draining(_) => InstanceState::Draining,
            },
            pid: self.replica.pid,
            memory,
            cpu_seconds: cpu_time.map(|time| time.as_secs_f64()),
            in_flight: self.calls(),
            started_at: self.replica.started_at,
        }
    }
}
