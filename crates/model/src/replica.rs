use std::{
    fmt,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};

use crate::End;

/// Names one replica for as long as the data directory lives: `hello-3f9a1c`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaId(pub Arc<str>);

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a replica accepts connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket, as a path on the host.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
    /// A TCP address in a network namespace of its own, whose file is `namespace`: it is reached
    /// by a socket that is made inside.
    Namespace {
        /// An nsfs file on the host.
        namespace: PathBuf,
        /// An address of the loopback interface inside.
        address: SocketAddr,
    },
}

/// A replica as the data plane sees it: where it is and how busy it is.
///
/// A call holds a [`BackendLease`] for its whole life. Whoever wants to stop the replica first
/// calls [`Backend::drain`] and then waits until [`Backend::in_flight`] is 0: a lease taken
/// before the drain is counted, and none can be taken after it.
#[derive(Debug)]
pub struct Backend {
    /// Who it is; no two backends ever share an id.
    pub id: ReplicaId,
    /// Where it listens.
    pub endpoint: Endpoint,
    in_flight: AtomicU32,
    draining: AtomicBool,
    ended: OnceLock<End>,
    born: Instant,
    /// Milliseconds after `born` when a lease was last taken or given back.
    used: AtomicU64,
}

impl Backend {
    /// A ready replica with no calls yet.
    pub fn new(id: ReplicaId, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            in_flight: AtomicU32::new(0),
            draining: AtomicBool::new(false),
            ended: OnceLock::new(),
            born: Instant::now(),
            used: AtomicU64::new(0),
        }
    }

    /// Takes part in a call, unless the replica is on its way out.
    pub fn lease(self: &Arc<Self>) -> Option<BackendLease> {
        // Sequentially consistent with `drain`: either this sees the drain, or the one who
        // drains sees this lease in `in_flight`.
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        let lease = BackendLease(Arc::clone(self));
        (!self.draining.load(Ordering::SeqCst)).then_some(lease)
    }

    /// Lets no new call in. Final.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Whether [`Backend::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Calls that hold a lease now.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Time since a lease was last taken or given back; zero while one is held.
    pub fn idle_for(&self) -> Duration {
        if self.in_flight() > 0 {
            return Duration::ZERO;
        }
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        self.born.elapsed().saturating_sub(used)
    }

    /// Says how the process ended. The first word stands.
    pub fn set_ended(&self, end: End) {
        self.drain();
        let _ = self.ended.set(end);
    }

    /// How the process ended, once it has.
    pub fn ended(&self) -> Option<&End> {
        self.ended.get()
    }
}

/// One call's hold on a replica; given back on drop.
#[derive(Debug)]
pub struct BackendLease(Arc<Backend>);

impl std::ops::Deref for BackendLease {
    type Target = Arc<Backend>;

    fn deref(&self) -> &Arc<Backend> {
        &self.0
    }
}

impl Drop for BackendLease {
    fn drop(&mut self) {
        let used = u64::try_from(self.0.born.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.used.store(used, Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The replicas of one function that are ready for calls. Cheap to read, replaced as a whole.
#[derive(Debug, Default)]
pub struct ReplicaSet {
    ready: ArcSwap<Vec<Arc<Backend>>>,
    turn: AtomicU32,
}

impl ReplicaSet {
    /// Leases the less busy of two replicas; `None` when no replica is ready.
    pub fn lease(&self) -> Option<BackendLease> {
        let ready = self.ready.load();
        match ready.as_slice() {
            [] => None,
            [only] => only.lease(),
            many => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
                let (one, two) = (&many[turn % many.len()], &many[(turn + 1) % many.len()]);
                let pick = if two.in_flight() < one.in_flight() {
                    two
                } else {
                    one
                };
                pick.lease()
                    .or_else(|| many.iter().find_map(Backend::lease))
            }
        }
    }

    /// The ready replicas at this moment.
    pub fn ready(&self) -> Arc<Vec<Arc<Backend>>> {
        self.ready.load_full()
    }

    /// Whether any replica is ready.
    pub fn has_ready(&self) -> bool {
        !self.ready.load().is_empty()
    }

    /// Puts `backends` in place of all that were ready. Those left out are not drained.
    pub fn replace(&self, backends: Vec<Arc<Backend>>) {
        self.ready.store(Arc::new(backends));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(id: &str) -> Arc<Backend> {
        Arc::new(Backend::new(
            ReplicaId(id.into()),
            Endpoint::Unix("/none".into()),
        ))
    }

    #[test]
    fn a_drained_backend_takes_no_calls_and_counts_those_it_has() {
        let backend = backend("a");
        let held = backend.lease().expect("open");
        backend.drain();
        assert!(backend.lease().is_none());
        assert_eq!(backend.in_flight(), 1);
        drop(held);
        assert_eq!(backend.in_flight(), 0);
    }

    #[test]
    fn calls_spread_and_pass_by_a_draining_replica() {
        let set = ReplicaSet::default();
        assert!(set.lease().is_none());
        let (a, b) = (backend("a"), backend("b"));
        set.replace(vec![a.clone(), b.clone()]);
        let held: Vec<_> = (0..4).filter_map(|_| set.lease()).collect();
        assert_eq!((a.in_flight(), b.in_flight()), (2, 2));
        drop(held);
        a.drain();
        assert_eq!(set.lease().expect("b is open").id, b.id);
    }
}
