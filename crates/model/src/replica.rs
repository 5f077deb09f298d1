use std::{
    fmt,
    future::poll_fn,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use crate::{End, EndReason, ejection::Ejection, line::Line, once::Once};

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
    /// Of one that takes a single lease in its life.
    once: Option<Box<Once>>,
    /// Whether somebody is told of leases that are given back: who waits in `line`, or by `once`.
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
            once: None,
            limited: AtomicBool::new(false),
            line: ArcSwapOption::empty(),
        }
    }

    /// One that takes a single lease in its life, and drains with it.
    pub fn once(id: ReplicaId, endpoint: Endpoint) -> Self {
        Self {
            once: Some(Box::default()),
            limited: AtomicBool::new(true),
            ..Self::new(id, endpoint)
        }
    }

    /// Whether it was made by [`Backend::once`].
    pub fn is_used_once(&self) -> bool {
        self.once.is_some()
    }

    /// Waits until one that is used once has its call. One task at a time may wait.
    pub async fn taken(&self) {
        poll_fn(|cx| self.poll_once(cx, Self::is_draining)).await;
    }

    /// Waits until its call is done. One task at a time may wait.
    pub async fn given_back(&self) {
        poll_fn(|cx| self.poll_once(cx, |one| one.is_draining() && one.in_flight() == 0)).await;
    }

    /// Says of one that is used once why its call was ended, while that has its lease: it is killed
    /// when that is given back. False for all others. The first word stands.
    pub fn blame(&self, why: EndReason) -> bool {
        let once = self.once.as_ref();
        once.is_some_and(|once| {
            let _ = once.blamed.set(why);
            true
        })
    }

    /// What [`Backend::blame`] was told.
    pub fn blamed(&self) -> Option<EndReason> {
        self.once.as_ref()?.blamed.get().copied()
    }

    fn poll_once(&self, cx: &Context<'_>, is_so: impl Fn(&Self) -> bool) -> Poll<()> {
        if let Some(once) = &self.once {
            // Before it looks: what changes after this wakes it.
            once.wait(cx.waker());
        }
        match is_so(self) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    /// Takes part in a call, unless the replica is on its way out, pauses or has `most` calls;
    /// `u32::MAX` is no limit.
    pub fn lease(self: &Arc<Self>, most: u32) -> Option<BackendLease> {
        if let Some(once) = &self.once {
            return self.lease_once(once);
        }
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

    /// The only lease that there will be. Whoever counts the first call drains it before the lease
    /// is anybody's, so that none can be counted after it.
    fn lease_once(self: &Arc<Self>, once: &Once) -> Option<BackendLease> {
        if !self.is_open() {
            return None;
        }
        let counted = &self.in_flight;
        let counted = counted.compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
        counted.ok()?;
        let lease = BackendLease(Arc::clone(self));
        if !self.is_open() {
            return None;
        }
        self.drain();
        once.tell();
        Some(lease)
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
        let told = line.is_some() || self.is_used_once();
        self.limited.store(told, Ordering::SeqCst);
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
        if self.0.limited.load(Ordering::SeqCst) {
            if let Some(once) = &self.0.once {
                once.tell();
            }
            if let Some(line) = &*self.0.line.load() {
                line.wake_first();
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{pin::pin, task::Waker};

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

    pub(crate) fn used_once(id: &str) -> Arc<Backend> {
        let endpoint = Endpoint::Unix("/none".into());
        Arc::new(Backend::once(ReplicaId(id.into()), endpoint))
    }

    #[test]
    fn one_that_is_used_once_takes_one_lease_in_its_life() {
        let backend = used_once("a");
        assert!(backend.pause() && backend.lease(UNLIMITED).is_none());
        backend.resume();
        let held = backend.lease(UNLIMITED).expect("fresh");
        assert!(backend.lease(UNLIMITED).is_none() && backend.is_draining());
        drop(held);
        assert!(backend.lease(UNLIMITED).is_none() && backend.in_flight() == 0);
    }

    #[test]
    fn who_waits_for_its_call_is_told_of_both_ends() {
        let mut cx = Context::from_waker(Waker::noop());
        let backend = used_once("a");
        let mut taken = pin!(backend.taken());
        let mut given_back = pin!(backend.given_back());
        assert!(taken.as_mut().poll(&mut cx).is_pending());
        let held = backend.lease(1).expect("fresh");
        assert!(taken.as_mut().poll(&mut cx).is_ready());
        assert!(given_back.as_mut().poll(&mut cx).is_pending());
        drop(held);
        assert!(given_back.as_mut().poll(&mut cx).is_ready());
    }

    /// However many come at the same time, and whatever pauses it meanwhile.
    #[test]
    fn only_one_of_many_gets_it() {
        for round in 0..2_000 {
            let (backend, got) = (used_once("a"), AtomicU32::new(0));
            std::thread::scope(|scope| {
                let call = || {
                    while !backend.is_draining() {
                        // Given back at once: whoever comes then must not get it either.
                        if backend.lease(UNLIMITED).is_some() {
                            got.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                };
                scope.spawn(call);
                scope.spawn(call);
                if round % 2 == 0 && backend.pause() {
                    backend.resume();
                }
            });
            assert_eq!(got.load(Ordering::SeqCst), 1);
        }
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
