use std::{
    cell::Cell,
    future::poll_fn,
    hash::{BuildHasher, RandomState},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
};

use arc_swap::ArcSwap;

use crate::{Backend, BackendLease, Scale, line::Line, replica::UNLIMITED};

/// The replicas of one function that are ready for calls. Cheap to read, replaced as a whole.
#[derive(Debug)]
pub struct ReplicaSet {
    ready: ArcSwap<Vec<Arc<Backend>>>,
    /// Those that stand still and take calls again when the function is woken.
    frozen: ArcSwap<Vec<Arc<Backend>>>,
    /// Calls in flight for each replica.
    most: AtomicU32,
    /// Calls in `line`.
    queue: AtomicU32,
    line: Arc<Line>,
    /// Where replicas are used once: how many have their call now, or [`DORMANT`]. Else [`SHARED`].
    used: AtomicU32,
}

/// Stands for replicas that serve more than one call.
const SHARED: u32 = u32::MAX;
/// Stands for nobody who makes fresh ones.
const DORMANT: u32 = u32::MAX - 1;

/// Why there is no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoLease {
    /// No replica is ready, nor is one made ready by itself.
    Asleep,
    /// Each has as many calls as it may have, or others wait for them already. Where replicas are
    /// used once, one is made ready for each who waits in line.
    Busy,
}

impl Default for ReplicaSet {
    fn default() -> Self {
        Self {
            ready: ArcSwap::default(),
            frozen: ArcSwap::default(),
            most: AtomicU32::new(UNLIMITED),
            queue: AtomicU32::new(UNLIMITED),
            line: Arc::default(),
            used: AtomicU32::new(SHARED),
        }
    }
}

impl ReplicaSet {
    /// Leases the less busy of two replicas. Nobody overtakes those who wait for one.
    ///
    /// # Errors
    /// When none is ready, or all are full.
    pub fn lease(&self) -> Result<BackendLease, NoLease> {
        let most = self.most.load(Ordering::Acquire);
        if most != UNLIMITED && self.waiting() > 0 {
            return Err(self.why_none(&self.ready.load()));
        }
        self.pick(most)
    }

    /// Waits in line where [`ReplicaSet::lease`] said `Busy`; `None` when the line is full.
    pub fn queue(&self) -> Option<Waiting<'_>> {
        let turn = self.line.join(self.queue.load(Ordering::Relaxed))?;
        Some(Waiting { set: self, turn })
    }

    /// Calls that wait in line.
    pub fn waiting(&self) -> u32 {
        self.line.waiting()
    }

    /// Whether a replica is ready that is not left out because it failed a call.
    pub fn is_well(&self) -> bool {
        let ready = self.ready.load();
        let mut open = ready.iter().filter(|one| one.is_open());
        open.any(|one| !one.is_ejected())
    }

    /// The ready replicas at this moment.
    pub fn ready(&self) -> Arc<Vec<Arc<Backend>>> {
        self.ready.load_full()
    }

    /// Whether any replica is ready.
    pub fn has_ready(&self) -> bool {
        !self.ready.load().is_empty()
    }

    /// Puts `backends` in place of all that were ready. Those left out are not drained. A backend
    /// is in one set at a time.
    pub fn replace(&self, backends: Vec<Arc<Backend>>) {
        self.ready.store(Arc::new(backends));
        self.changed();
    }

    /// The frozen replicas at this moment, which take no calls.
    pub fn frozen(&self) -> Arc<Vec<Arc<Backend>>> {
        self.frozen.load_full()
    }

    /// Puts `backends` in place of all that were frozen. Those left out are not thawed.
    pub fn replace_frozen(&self, backends: Vec<Arc<Backend>>) {
        self.frozen.store(Arc::new(backends));
    }

    /// Takes over `concurrency` and `queue`; calls that wait or are in flight stay.
    pub fn limit(&self, scale: &Scale) {
        let queue = scale.concurrency.map(|_| scale.queue);
        self.queue
            .store(queue.unwrap_or(UNLIMITED), Ordering::Relaxed);
        let most = scale.concurrency.unwrap_or(UNLIMITED);
        self.most.store(most, Ordering::Release);
        self.changed();
    }

    /// Says that replicas are used once, and how many have their call now; `None` when nobody makes
    /// fresh ones until the function is woken.
    pub fn supply(&self, used: Option<u32>) {
        self.used.store(used.unwrap_or(DORMANT), Ordering::Release);
    }

    /// Says that replicas serve more than one call, as at first.
    pub fn share(&self) {
        self.used.store(SHARED, Ordering::Release);
    }

    /// Whether each call has a replica to itself, that nobody had before.
    pub fn is_used_once(&self) -> bool {
        self.used.load(Ordering::Acquire) != SHARED
    }

    /// Replicas that have the only call of their lives now. They are not among the ready ones.
    pub fn used(&self) -> u32 {
        match self.used.load(Ordering::Acquire) {
            SHARED | DORMANT => 0,
            used => used,
        }
    }

    /// Whether a call gets a replica without waking the function first.
    pub fn is_awake(&self) -> bool {
        self.has_ready() || self.is_supplied()
    }

    fn is_supplied(&self) -> bool {
        self.used.load(Ordering::Acquire) < DORMANT
    }

    /// How many calls have ever waited in line.
    pub fn joins(&self) -> u64 {
        self.line.joins()
    }

    /// Waits until more than `known` have. One task at a time may wait.
    pub async fn joined(&self, known: u64) {
        poll_fn(|cx| self.line.poll_joined(known, cx)).await;
    }

    /// Has the replicas tell those who wait, and these look again: there may be places.
    fn changed(&self) {
        let limited = self.most.load(Ordering::Acquire) != UNLIMITED;
        for one in self.ready.load().iter() {
            one.tell(limited.then_some(&self.line));
        }
        // After that, for those who were told of nothing until then.
        self.line.wake_first();
    }

    /// The less loaded of two replicas that are chosen at random: nearly as good as the least
    /// loaded of all, and without a look at all. M. Mitzenmacher, "The Power of Two Choices in
    /// Randomized Load Balancing", IEEE TPDS 12(10), 2001.
    fn pick(&self, most: u32) -> Result<BackendLease, NoLease> {
        let ready = self.ready.load();
        let lease = match ready.as_slice() {
            [] => None,
            [only] => only.lease(most),
            many => {
                let (one, two) = two_of(many.len());
                let load = |at: usize| (many[at].is_ejected(), many[at].in_flight());
                let less = if load(two) < load(one) { two } else { one };
                lease_well(&many[less], most).or_else(|| lease_any(many, less, most))
            }
        };
        lease.ok_or_else(|| self.why_none(&ready))
    }

    fn why_none(&self, ready: &[Arc<Backend>]) -> NoLease {
        match self.is_supplied() || ready.iter().any(|one| one.is_open()) {
            true => NoLease::Busy,
            // Whoever else waits for one.
            false => NoLease::Asleep,
        }
    }
}

fn lease_well(one: &Arc<Backend>, most: u32) -> Option<BackendLease> {
    if one.is_ejected() {
        return None;
    }
    one.lease(most)
}

/// The first that has room, from `start` on. Where all are left out, the ones whose time is over
/// first: they are better than nobody.
fn lease_any(many: &[Arc<Backend>], start: usize, most: u32) -> Option<BackendLease> {
    let (before, after) = many.split_at(start);
    let mut all = after.iter().chain(before);
    if let Some(lease) = all.find_map(|one| lease_well(one, most)) {
        return Some(lease);
    }
    let mut open: Vec<_> = many.iter().filter(|one| one.is_open()).collect();
    if open.iter().any(|one| !one.is_ejected()) {
        return None;
    }
    open.sort_by_key(|one| one.ejection.until());
    open.into_iter().find_map(|one| one.lease(most))
}

/// Two different numbers below `count`, which is 2 or more, at random.
fn two_of(count: usize) -> (usize, usize) {
    let random = random();
    // The high half of a product is below the factor: D. Lemire, "Fast Random Integer Generation
    // in an Interval", 2019. The bias is that of 32 bits to a few replicas: none.
    let below =
        |random: u64, count: usize| (((random & 0xffff_ffff) * count as u64) >> 32) as usize;
    let one = below(random, count);
    let two = below(random >> 32, count - 1);
    (one, two + usize::from(two >= one))
}

/// The next number of a generator of this thread: SplitMix64, of G. Steele, D. Lea and C. Flood,
/// "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().hash_one(0));
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A call that waits in line for a replica; dropped, it leaves the line. `None` when no replica
/// is ready any more.
#[derive(Debug)]
pub struct Waiting<'a> {
    set: &'a ReplicaSet,
    turn: u64,
}

impl Future for Waiting<'_> {
    type Output = Option<BackendLease>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Before it looks for a place: one that is given back after this wakes it.
        if !self.set.line.is_first(self.turn, cx.waker()) {
            return Poll::Pending;
        }
        match self.set.pick(self.set.most.load(Ordering::Acquire)) {
            Ok(lease) => Poll::Ready(Some(lease)),
            Err(NoLease::Asleep) => Poll::Ready(None),
            Err(NoLease::Busy) => Poll::Pending,
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.set.line.leave(self.turn);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, pin::pin, task::Wake};

    use super::*;
    use crate::replica::tests::{backend, used_once};

    /// A function with these replicas, `concurrency` calls for each and `queue` that wait.
    fn limited(ids: &[&str], concurrency: u32, queue: u32) -> ReplicaSet {
        let set = ReplicaSet::default();
        set.limit(&scale(Some(concurrency), queue));
        set.replace(ids.iter().map(|id| backend(id)).collect());
        set
    }

    fn scale(concurrency: Option<u32>, queue: u32) -> Scale {
        Scale {
            concurrency,
            queue,
            ..Scale::default()
        }
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Alarm(AtomicU32);

    impl Wake for Alarm {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Waiter<'a> {
        waiting: Waiting<'a>,
        alarm: Arc<Alarm>,
    }

    impl<'a> Waiter<'a> {
        /// One who waits, as it should.
        fn of(set: &'a ReplicaSet) -> Self {
            let mut waiter = Self {
                waiting: set.queue().expect("room"),
                alarm: Arc::default(),
            };
            assert!(waiter.poll().is_pending());
            waiter
        }

        fn poll(&mut self) -> Poll<Option<BackendLease>> {
            let waker = self.alarm.clone().into();
            Pin::new(&mut self.waiting).poll(&mut Context::from_waker(&waker))
        }

        /// Whether it was woken since it was last asked.
        fn woken(&self) -> bool {
            self.alarm.0.swap(0, Ordering::SeqCst) > 0
        }
    }

    #[test]
    fn calls_spread_and_pass_by_a_draining_replica() {
        let set = ReplicaSet::default();
        assert_eq!(set.lease().err(), Some(NoLease::Asleep));
        let (a, b) = (backend("a"), backend("b"));
        set.replace(vec![a.clone(), b.clone()]);
        let held: Vec<_> = (0..4).map(|_| set.lease().expect("ready")).collect();
        assert_eq!((a.in_flight(), b.in_flight()), (2, 2));
        drop(held);
        a.drain();
        assert_eq!(set.lease().expect("b is open").id, b.id);
        b.drain();
        assert_eq!(set.lease().err(), Some(NoLease::Asleep));
    }

    #[test]
    fn two_choices_are_different_and_every_pair_comes() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let (one, two) = two_of(5);
            assert!(one < 5 && two < 5 && one != two);
            seen.insert((one, two));
        }
        assert_eq!(seen.len(), 20);
    }

    #[test]
    fn the_busiest_of_many_gets_nothing_and_the_others_stay_close() {
        let set = ReplicaSet::default();
        let all: Vec<_> = ["a", "b", "c", "d", "e"].map(backend).into();
        set.replace(all.clone());
        let busy: Vec<_> = (0..1_000).map(|_| all[0].lease(UNLIMITED)).collect();
        let held: Vec<_> = (0..400).map(|_| set.lease().expect("ready")).collect();
        assert_eq!(all[0].in_flight(), 1_000);
        for one in &all[1..] {
            let calls = one.in_flight();
            assert!((90..=110).contains(&calls), "{calls}");
        }
        drop((busy, held));
    }

    #[test]
    fn a_replica_that_failed_is_left_out_unless_all_have() {
        let set = ReplicaSet::default();
        let all: Vec<_> = ["a", "b", "c"].map(backend).into();
        set.replace(all.clone());
        all[0].eject();
        all[1].eject();
        for _ in 0..50 {
            assert_eq!(set.lease().expect("ready").id, all[2].id);
        }
        assert!(set.is_well());
        all[2].eject();
        assert!(!set.is_well());
        assert!(set.lease().is_ok());
    }

    #[test]
    fn a_replica_never_has_more_calls_than_it_may() {
        let set = Arc::new(limited(&["a", "b"], 3, 0));
        let all = set.ready();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let lease = set.lease();
                        assert!(all.iter().all(|one| one.in_flight() <= 3));
                        drop(lease);
                    }
                });
            }
        });
        let held: Vec<_> = (0..6).map(|_| set.lease().expect("room")).collect();
        assert_eq!(set.lease().err(), Some(NoLease::Busy));
        assert!(set.queue().is_none());
        drop(held);
        assert!(set.lease().is_ok());
    }

    #[test]
    fn places_go_to_those_who_wait_in_their_order() {
        let set = limited(&["a"], 1, 2);
        let held = set.lease().expect("room");
        let (mut one, mut two) = (Waiter::of(&set), Waiter::of(&set));
        assert!(set.queue().is_none());
        assert_eq!(set.waiting(), 2);
        drop(held);
        assert_eq!((one.woken(), two.woken()), (true, false));
        // Neither who comes now nor the second may have it.
        assert_eq!(set.lease().err(), Some(NoLease::Busy));
        assert!(two.poll().is_pending());
        let Poll::Ready(Some(held)) = one.poll() else {
            panic!("the first has the place");
        };
        drop(one);
        assert!(two.woken(), "it is the first now");
        assert!(two.poll().is_pending());
        drop(held);
        assert!(two.woken());
        assert!(matches!(two.poll(), Poll::Ready(Some(_))));
        drop(two);
        assert_eq!(set.waiting(), 0);
        assert!(set.lease().is_ok());
    }

    #[test]
    fn who_leaves_the_line_passes_the_place_on() {
        let set = limited(&["a"], 1, 3);
        let held = set.lease().expect("room");
        let (one, two, mut three) = (Waiter::of(&set), Waiter::of(&set), Waiter::of(&set));
        drop(two);
        assert!(!three.woken());
        drop(held);
        assert!(one.woken());
        // Its caller has hung up in this moment.
        drop(one);
        assert!(three.woken());
        assert!(matches!(three.poll(), Poll::Ready(Some(_))));
    }

    #[test]
    fn new_replicas_and_new_limits_let_calls_in() {
        let set = limited(&["a"], 1, 9);
        let _held = set.lease().expect("room");
        let (mut one, mut two) = (Waiter::of(&set), Waiter::of(&set));
        let mut all = set.ready().to_vec();
        all.push(backend("b"));
        set.replace(all);
        assert!(one.woken());
        let Poll::Ready(Some(at_b)) = one.poll() else {
            panic!("the new one has room");
        };
        drop(one);
        assert!(two.woken() && two.poll().is_pending());
        // No limit any more.
        set.limit(&scale(None, 9));
        assert!(two.woken());
        let Poll::Ready(Some(more)) = two.poll() else {
            panic!("there is no limit");
        };
        drop(two);
        // Leases from before the limit give their places back too.
        set.limit(&scale(Some(1), 9));
        let mut late = Waiter::of(&set);
        drop((at_b, more));
        assert!(late.woken());
        assert!(matches!(late.poll(), Poll::Ready(Some(_))));
    }

    #[test]
    fn who_waits_learns_that_no_replica_is_left() {
        let set = limited(&["a"], 1, 9);
        let _held = set.lease().expect("room");
        let (mut one, mut two) = (Waiter::of(&set), Waiter::of(&set));
        set.replace(Vec::new());
        assert!(one.woken());
        assert!(matches!(one.poll(), Poll::Ready(None)));
        drop(one);
        // It is not to wait again behind those who are about to learn it.
        assert_eq!(
            (set.waiting(), set.lease().err()),
            (1, Some(NoLease::Asleep))
        );
        assert!(two.woken());
        assert!(matches!(two.poll(), Poll::Ready(None)));
    }

    /// A function whose replicas are used once, with these ready and `used` at their call.
    fn fresh(ids: &[&str], used: Option<u32>) -> ReplicaSet {
        let set = ReplicaSet::default();
        set.supply(used);
        set.limit(&scale(Some(1), 9));
        set.replace(ids.iter().map(|id| used_once(id)).collect());
        set
    }

    #[test]
    fn of_replicas_that_are_used_once_each_call_gets_another() {
        let set = fresh(&["a", "b", "c"], Some(0));
        let lease = || set.lease().map(|lease| lease.id.clone());
        let got: HashSet<_> = (0..3).map(|_| lease().expect("fresh")).collect();
        assert_eq!(got.len(), 3);
        // Somebody makes more, and that is waited for.
        assert_eq!(lease().err(), Some(NoLease::Busy));
        assert!(set.is_awake());
    }

    #[test]
    fn who_waits_for_a_fresh_replica_is_heard_of_and_gets_it() {
        let set = fresh(&[], Some(0));
        let alarm = Arc::new(Alarm::default());
        let mut joined = pin!(set.joined(set.joins()));
        let waker = Arc::clone(&alarm).into();
        let mut cx = Context::from_waker(&waker);
        assert!(joined.as_mut().poll(&mut cx).is_pending());
        let mut one = Waiter::of(&set);
        assert_eq!(alarm.0.load(Ordering::SeqCst), 1);
        assert!(joined.as_mut().poll(&mut cx).is_ready());
        set.replace(vec![used_once("a")]);
        assert!(one.woken());
        assert!(matches!(one.poll(), Poll::Ready(Some(_))));
    }

    #[test]
    fn where_nobody_makes_fresh_replicas_the_function_sleeps() {
        let set = fresh(&[], Some(3));
        assert_eq!((set.used(), set.lease().err()), (3, Some(NoLease::Busy)));
        let mut one = Waiter::of(&set);
        set.supply(None);
        set.replace(Vec::new());
        assert!(one.woken());
        assert!(matches!(one.poll(), Poll::Ready(None)));
        drop(one);
        assert_eq!((set.used(), set.lease().err()), (0, Some(NoLease::Asleep)));
        assert!(set.is_used_once() && !set.is_awake());
        set.share();
        assert!(!set.is_used_once() && !set.is_awake());
    }
}
