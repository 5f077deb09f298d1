use std::{
    collections::VecDeque,
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use hob_model::port::RunError;
use hob_sandbox::{OneShotSpec, ReadyCage, Sandbox};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use tokio::{runtime::Handle, sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    config::{LocalPoolConfig, cores},
    lease::{self, Lease, LeaseFile, LeaseState},
    owner::Owner,
    worker,
};
use crate::local::listen_to;

/// After how many failures in a row callers are told, and not made to wait for the next attempt.
const TELL_AFTER: u32 = 2;
/// Pause after a first failure; each further one doubles it.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: a machine that cannot make sandboxes is quiet, and soon well again.
const MOST_PAUSE: Duration = Duration::from_secs(10);
/// Longest wait of a caller who has his place for a sandbox that is being made.
const PATIENCE: Duration = Duration::from_secs(60);

/// Sandboxes that are made ahead, so many that with those in use there are never more than the
/// pool's size.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) config: LocalPoolConfig,
    /// First of the host's users for them.
    uids: u32,
    leases: PathBuf,
    owner: Owner,
    state: Mutex<State>,
    /// There is one more ready, or one less at all, or none can be had.
    changed: Notify,
    pub(super) closing: CancellationToken,
    handle: Handle,
}

#[derive(Debug)]
struct State {
    /// Which seats are taken, by a sandbox or by one that is to be.
    seats: Vec<bool>,
    making: usize,
    ready: VecDeque<Made>,
    trouble: Option<Trouble>,
}

/// Sandboxes could not be made lately.
#[derive(Debug)]
struct Trouble {
    cause: String,
    failures: u32,
    /// None is made before.
    until: Instant,
}

/// A sandbox that waits for its run. Dropping it removes it; that blocks for some milliseconds.
#[derive(Debug)]
pub(super) struct Made {
    cage: ReadyCage,
    pub(super) lease: LeaseFile,
    seat: Seat,
    /// Notices its death.
    _guard: AbortOnDropHandle<()>,
}

/// The right to one sandbox, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    stock: Arc<Stock>,
    number: usize,
}

/// One that is being made.
struct Making<'a>(&'a Stock);

// === impl Stock ===

impl Stock {
    pub(super) fn new(sandbox: Arc<Sandbox>, config: LocalPoolConfig, leases: PathBuf) -> Self {
        let state = State {
            seats: vec![false; config.size],
            making: 0,
            ready: VecDeque::new(),
            trouble: None,
        };
        Self {
            sandbox,
            uids: worker::first_uid(&config.run),
            config,
            leases,
            owner: Owner::me(),
            state: Mutex::new(state),
            changed: Notify::new(),
            closing: CancellationToken::new(),
            handle: Handle::current(),
        }
    }

    /// Has sandboxes made until all seats are taken, some at a time. Returns at once.
    pub(super) fn refill(self: &Arc<Self>) {
        loop {
            // By itself, or the state would be locked for the length of the loop.
            let seat = self.state().seat(&self.closing);
            let Some(number) = seat else {
                return;
            };
            let stock = Arc::clone(self);
            let seat = Seat { stock, number };
            self.handle.spawn_blocking(move || seat.stock().fill(seat));
        }
    }

    /// The next one that is ready.
    ///
    /// # Errors
    /// When none can be had.
    pub(super) async fn take(self: &Arc<Self>) -> Result<Made, RunError> {
        let taken = timeout(PATIENCE, self.wait_for_one()).await;
        taken.unwrap_or_else(|_| {
            let seconds = PATIENCE.as_secs();
            let words = format!("no sandbox was ready within {seconds} s: the machine is too busy");
            Err(RunError::Unavailable(words))
        })
    }

    /// Sandboxes that wait.
    pub(super) fn ready(&self) -> usize {
        self.state().ready.len()
    }

    /// One has served, so that whatever was wrong is over.
    pub(super) fn proven(&self) {
        self.state().trouble = None;
    }

    /// Makes no more, removes those that wait, and returns when no seat is taken.
    pub(super) async fn close(self: &Arc<Self>) {
        self.closing.cancel();
        let waiting = std::mem::take(&mut self.state().ready);
        self.handle.spawn_blocking(move || drop(waiting));
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if !self.state().seats.contains(&true) {
                return;
            }
            changed.await;
        }
    }

    /// The same at once, for one who cannot wait. Blocks.
    pub(super) fn abandon(&self) {
        self.closing.cancel();
        let waiting = std::mem::take(&mut self.state().ready);
        drop(waiting);
    }

    async fn wait_for_one(self: &Arc<Self>) -> Result<Made, RunError> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let made = self.state().next(&self.closing)?;
            match made {
                Some(made) if made.is_alive() => return Ok(made),
                // Its guard has not noticed yet.
                Some(dead) => self.remove(dead),
                None => changed.await,
            }
        }
    }

    fn fill(self: &Arc<Self>, seat: Seat) {
        let making = Making(self);
        let made = self.make(seat);
        let unused = match made {
            Ok(made) => {
                let mut state = self.state();
                match self.closing.is_cancelled() {
                    true => Some(made),
                    false => {
                        state.ready.push_back(made);
                        None
                    }
                }
            }
            Err((cause, seat)) => {
                self.failed(cause);
                drop(seat);
                None
            }
        };
        drop(unused);
        drop(making);
        self.changed.notify_waiters();
        self.refill();
    }

    /// With its lease on disk before there is anything.
    fn make(self: &Arc<Self>, seat: Seat) -> Result<Made, (String, Seat)> {
        match self.build(seat.number) {
            Ok((cage, lease, pidfd)) => {
                let worker = lease.lease.worker.clone();
                let guard = self
                    .handle
                    .spawn(guard(Arc::downgrade(self), pidfd, worker));
                Ok(Made {
                    cage,
                    lease,
                    seat,
                    _guard: AbortOnDropHandle::new(guard),
                })
            }
            Err(cause) => Err((cause, seat)),
        }
    }

    fn build(&self, number: usize) -> Result<(ReadyCage, LeaseFile, OwnedFd), String> {
        let worker = worker::name()?;
        let spec = OneShotSpec {
            id: worker.clone(),
            level: self.config.level,
            runtime: self.config.runtime.clone(),
            uid: self.uids + u32::try_from(number).unwrap_or(0),
            limits: self.config.of_cage(&self.config.limits),
        };
        let lease = Lease {
            worker,
            state: LeaseState::Making,
            owner: self.owner.clone(),
            expires_at: lease::in_future(self.config.lease),
            cage: self.sandbox.record_ahead(&spec),
        };
        let wrong = |error| format!("cannot write a lease to {}: {error}", self.leases.display());
        let mut lease = LeaseFile::create(&self.leases, lease).map_err(wrong)?;
        let cage = self.sandbox.prepare(spec).map_err(|e| e.to_string())?;
        lease.made(cage.record()).map_err(wrong)?;
        let pidfd = cage.pidfd().try_clone_to_owned();
        let pidfd = pidfd.map_err(|error| format!("cannot watch a sandbox: {error}"))?;
        Ok((cage, lease, pidfd))
    }

    /// Says so once for each cause, and has the next attempt wait.
    fn failed(self: &Arc<Self>, cause: String) {
        let pause = {
            let mut state = self.state();
            let before = state.trouble.take();
            if before.as_ref().is_none_or(|before| before.cause != cause) {
                tracing::warn!(%cause, "cannot make a sandbox");
            }
            let failures = before.map_or(0, |before| before.failures).saturating_add(1);
            let pause = LEAST_PAUSE.saturating_mul(1 << (failures - 1).min(16));
            let pause = pause.min(MOST_PAUSE);
            let until = Instant::now() + pause;
            state.trouble = Some(Trouble {
                cause,
                failures,
                until,
            });
            pause
        };
        let stock = Arc::downgrade(self);
        self.handle.spawn(async move {
            tokio::time::sleep(pause).await;
            if let Some(stock) = stock.upgrade() {
                stock.refill();
            }
        });
    }

    /// One that waited is dead.
    fn lost(self: &Arc<Self>, worker: &str) {
        let dead = {
            let mut state = self.state();
            let mut ready = state.ready.iter();
            let place = ready.position(|made| made.lease.lease.worker == worker);
            place.and_then(|place| state.ready.remove(place))
        };
        if let Some(dead) = dead {
            self.remove(dead);
        }
    }

    fn remove(self: &Arc<Self>, dead: Made) {
        self.failed("a sandbox died while it waited for its run".into());
        self.handle.spawn_blocking(move || drop(dead));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the death of one that waits. It does not keep its pool.
async fn guard(stock: Weak<Stock>, pidfd: OwnedFd, worker: String) {
    let Ok(pidfd) = listen_to(pidfd.as_fd()) else {
        // It is looked at again before it is used.
        return;
    };
    if pidfd.readable().await.is_ok()
        && let Some(stock) = stock.upgrade()
    {
        stock.lost(&worker);
    }
}

// === impl State ===

impl State {
    /// A seat for one that is to be made now, if any is.
    fn seat(&mut self, closing: &CancellationToken) -> Option<usize> {
        let now = Instant::now();
        let pauses = self.trouble.as_ref().is_some_and(|one| now < one.until);
        if closing.is_cancelled() || pauses || self.making >= cores() {
            return None;
        }
        let number = self.seats.iter().position(|taken| !taken)?;
        self.seats[number] = true;
        self.making += 1;
        Some(number)
    }

    fn next(&mut self, closing: &CancellationToken) -> Result<Option<Made>, RunError> {
        if closing.is_cancelled() {
            return Err(closed());
        }
        let made = self.ready.pop_front();
        match &self.trouble {
            Some(trouble) if made.is_none() && trouble.failures >= TELL_AFTER => {
                Err(RunError::Unavailable(trouble.cause.clone()))
            }
            _ => Ok(made),
        }
    }
}

// === impl Made ===

impl Made {
    /// It is about to be used: nobody else looks after it.
    pub(super) fn parts(self) -> (ReadyCage, LeaseFile, Seat) {
        (self.cage, self.lease, self.seat)
    }

    fn is_alive(&self) -> bool {
        let pidfd = self.cage.pidfd();
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        loop {
            match poll(&mut fds, Some(&Timespec::default())) {
                Err(Errno::INTR) => {}
                answer => return answer == Ok(0),
            }
        }
    }
}

// === impl Seat ===

impl Seat {
    fn stock(&self) -> Arc<Stock> {
        Arc::clone(&self.stock)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.stock.state().seats[self.number] = false;
        self.stock.changed.notify_waiters();
        self.stock.refill();
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.0.state().making -= 1;
    }
}

/// What callers of a closed pool are told.
pub(super) fn closed() -> RunError {
    RunError::Unavailable("hob is stopping: no more runs are taken".into())
}
