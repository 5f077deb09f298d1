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

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use crate::{End, ejection::Ejection, line::Line};

/// Stands for no limit of calls in flight.
pub(crate) const UNLIMITED: u32 = u32::MAX;

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
/// before the drain is counted, and none can be taken after it. The same holds for
/// [`Backend::pause`], which can be undone.
#[derive(Debug)]
pub struct Backend {
    /// Who it is; no two backends ever share an id.
    pub id: ReplicaId,
    /// Where it listens.
    pub endpoint: Endpoint,
    in_flight: AtomicU32,
    /// Whether calls are let in. Even while they are: each pause adds one, and so does its end.
    /// [`DRAINING`] for good.
    gate: AtomicU32,
    ended: OnceLock<End>,
    born: Instant,
    /// Milliseconds after `born` when a lease was last taken or given back.
    used: AtomicU64,
    pub(crate) ejection: Ejection,
    /// Whether somebody may wait for its places; `line` is where.
    limited: AtomicBool,
    line: ArcSwapOption<Line>,
}

/// The gate of a replica on its way out; odd, as of all that let no call in.
const DRAINING: u32 = u32::MAX;

impl Backend {
    /// A ready replica with no calls yet.
    pub fn new(id: ReplicaId, endpoint: Endpoint) -> Self {
        Self {
            id,
            endpoint,
            in_flight: AtomicU32::new(0),
            gate: AtomicU32::new(0),
            ended: OnceLock::new(),
            born: Instant::now(),
            used: AtomicU64::new(0),
            ejection: Ejection::default(),
            limited: AtomicBool::new(false),
            line: ArcSwapOption::empty(),
        }
    }

    /// Takes part in a call, unless the replica is on its way out, pauses or has `most` calls;
    /// `u32::MAX` is no limit.
    pub fn lease(self: &Arc<Self>, most: u32) -> Option<BackendLease> {
        // Sequentially consistent with `drain` and `pause`: either this sees them, or the one who
        // drains or pauses sees this lease in `in_flight`.
        if most == UNLIMITED {
            self.in_flight.fetch_add(1, Ordering::SeqCst);
        } else {
            let one_more = |calls| (calls < most).then_some(calls + 1);
            let in_flight = &self.in_flight;
            let counted = in_flight.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more);
            counted.ok()?;
        }
        let lease = BackendLease(Arc::clone(self));
        self.is_open().then_some(lease)
    }

    /// Whether it takes calls, as far as it has room for them.
    pub(crate) fn is_open(&self) -> bool {
        self.gate.load(Ordering::SeqCst).is_multiple_of(2)
    }

    /// Leaves it out for a while: it refused a connection, or closed one without an answer. The
    /// engine hears of a replica's end later than the calls do.
    pub fn eject(&self) {
        self.ejection.eject(self.born.elapsed());
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejection.is_out(|| self.born.elapsed())
    }

    /// Says who is to be told of places that it gets.
    pub(crate) fn tell(&self, line: Option<&Arc<Line>>) {
        self.line.store(line.cloned());
        self.limited.store(line.is_some(), Ordering::SeqCst);
    }

    /// Lets no new call in. Final.
    pub fn drain(&self) {
        self.gate.store(DRAINING, Ordering::SeqCst);
    }

    /// Whether [`Backend::drain`] was called.
    pub fn is_draining(&self) -> bool {
        self.gate.load(Ordering::SeqCst) == DRAINING
    }

    /// Lets no new call in until [`Backend::resume`]. False, and calls are let in as before, when
    /// one is here already.
    pub fn pause(&self) -> bool {
        if !self.step(|gate| gate.is_multiple_of(2)) {
            return false;
        }
        let idle = self.in_flight() == 0;
        if !idle {
            self.step(|gate| !gate.is_multiple_of(2));
        }
        idle
    }

    /// Lets calls in again after a pause. Its idle time begins anew.
    pub fn resume(&self) {
        let now = self.age_millis();
        self.used.store(now, Ordering::Relaxed);
        self.step(|gate| !gate.is_multiple_of(2));
    }

    /// Grows with every pause. What was open before one is not to be trusted after it: to the
    /// program, which stood still, all its timeouts are over at once.
    pub fn pauses(&self) -> u32 {
        self.gate.load(Ordering::Relaxed)
    }

    /// Moves the gate on by one, if `fits`. A drained one stays as it is.
    fn step(&self, fits: impl Fn(u32) -> bool) -> bool {
        let next = |gate: u32| (gate != DRAINING && fits(gate)).then(|| gate + 1);
        let moved = self
            .gate
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        moved.is_ok()
    }

    /// Milliseconds since `born`.
    fn age_millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
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
        self.0.used.store(self.0.age_millis(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
        // After it, so that whoever came too late for the place is seen to wait.
        if self.0.limited.load(Ordering::SeqCst)
            && let Some(line) = &*self.0.line.load()
        {
            line.wake_first();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn backend(id: &str) -> Arc<Backend> {
        Arc::new(Backend::new(
            ReplicaId(id.into()),
            Endpoint::Unix("/none".into()),
        ))
    }

    #[test]
    fn a_drained_backend_takes_no_calls_and_counts_those_it_has() {
        let backend = backend("a");
        let held = backend.lease(UNLIMITED).expect("open");
        backend.drain();
        assert!(backend.lease(UNLIMITED).is_none());
        assert_eq!(backend.in_flight(), 1);
        drop(held);
        assert_eq!(backend.in_flight(), 0);
    }

    #[test]
    fn a_pause_gives_way_to_a_call_and_a_drain_ends_it() {
        let backend = backend("a");
        let held = backend.lease(UNLIMITED).expect("open");
        assert!(!backend.pause(), "a call is here");
        let other = backend.lease(UNLIMITED).expect("still open");
        drop((held, other));
        let before = backend.pauses();
        assert!(backend.pause() && backend.lease(UNLIMITED).is_none());
        assert!(!backend.is_draining() && backend.in_flight() == 0);
        backend.resume();
        assert!(backend.lease(UNLIMITED).is_some() && backend.pauses() > before);
        assert!(backend.pause());
        backend.drain();
        backend.resume();
        assert!(backend.lease(UNLIMITED).is_none() && backend.is_draining());
    }

    /// Whatever happens at the same time: no call is inside while the replica stands still.
    #[test]
    fn no_call_is_inside_of_a_pause() {
        let (backend, inside) = (backend("a"), AtomicU32::new(0));
        std::thread::scope(|scope| {
            let calls = || {
                for _ in 0..20_000 {
                    if let Some(lease) = backend.lease(UNLIMITED) {
                        inside.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(lease);
                    }
                }
            };
            let callers = [scope.spawn(calls), scope.spawn(calls)];
            while !callers.iter().all(|caller| caller.is_finished()) {
                if backend.pause() {
                    assert_eq!(inside.load(Ordering::SeqCst), 0);
                    backend.resume();
                }
            }
        });
        assert!(backend.lease(UNLIMITED).is_some() && backend.in_flight() == 0);
    }
}
