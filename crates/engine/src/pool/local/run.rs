use std::{
    future::pending,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::{End, EndReason, sandbox::RunMaxima};
use hob_sandbox::{Alarm, OneShot, OneShotEnd, SandboxError, Usage};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{config::cores, lease::LeaseFile, stock::Seat};
use crate::{
    local::{listen_to, told},
    pool::Place,
};

/// The least time between two looks at the processor time of a run.
const LOOK: Duration = Duration::from_millis(10);
/// How far the kernel's news of memory that ran out may be ahead of its counts.
const NEWS_AHEAD: Duration = Duration::from_millis(100);
/// Pause between two looks meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(2);
/// Pause before a run that was killed and lives is killed again.
const AGAIN: Duration = Duration::from_millis(20);

/// A run under way: whoever has reason to ends it, and the first reason counts.
#[derive(Debug)]
pub(super) struct Run {
    tenant: Mutex<Option<Tenant>>,
    doom: Mutex<Option<Doom>>,
    /// Cancelled together with the first reason.
    pub(super) doomed: CancellationToken,
    deadline: Instant,
    limits: RunMaxima,
}

/// Why a run was ended by the pool.
#[derive(Debug, Clone)]
pub(super) struct Doom {
    pub(super) end: End,
    /// Its time limit had passed.
    pub(super) by_deadline: bool,
}

/// What there is of a run on this machine. Dropping it removes all of it and gives its place to
/// the next, in this order; that blocks for some milliseconds.
#[derive(Debug)]
pub(super) struct Tenant {
    pub(super) cage: OneShot,
    _lease: LeaseFile,
    _seat: Seat,
    _place: Place,
}

// === impl Tenant ===

impl Tenant {
    pub(super) fn new(cage: OneShot, lease: LeaseFile, seat: Seat, place: Place) -> Self {
        Self {
            cage,
            _lease: lease,
            _seat: seat,
            _place: place,
        }
    }
}

// === impl Run ===

impl Run {
    pub(super) fn new(tenant: Tenant, deadline: Instant, limits: RunMaxima) -> Self {
        Self {
            tenant: Mutex::new(Some(tenant)),
            doom: Mutex::new(None),
            doomed: CancellationToken::new(),
            deadline,
            limits,
        }
    }

    /// Ends it for `end`, unless it has ended or is about to. Blocks no longer than a signal takes.
    pub(super) fn end_by(&self, end: End) {
        self.condemn(Doom {
            end,
            by_deadline: false,
        });
    }

    fn condemn(&self, doom: Doom) {
        let tenant = self.tenant();
        let Some(tenant) = tenant.as_ref() else {
            return;
        };
        self.doom().get_or_insert(doom);
        tenant.cage.kill();
        self.doomed.cancel();
    }

    /// Ends it because its caller is not there any more.
    pub(super) fn abandon(&self) {
        self.end_by(End::new(EndReason::Cancelled, "its caller has gone"));
    }

    /// Ends it because it has written more than it may.
    pub(super) fn flooded(&self) {
        let limit = self.limits.output;
        let words = format!("wrote more than its {limit} of output");
        self.end_by(End::new(EndReason::Output, words));
    }

    /// Ends it because a process of it was killed for want of memory: half of a program is none.
    fn starved(&self) {
        let limit = self.limits.memory;
        let words = format!("used more than its {limit} of memory");
        self.end_by(End::new(EndReason::Memory, words));
    }

    /// Ends it once the kernel has killed a process of it for want of memory, and the others live.
    /// Waits without end where that cannot be.
    pub(super) async fn starves(&self, alarm: Option<Alarm>) {
        let Some(alarm) = alarm else {
            return pending().await;
        };
        let news = alarm.news().and_then(|news| listen_to(news).ok());
        loop {
            told(news.as_ref()).await;
            let until = Instant::now() + NEWS_AHEAD;
            while Instant::now() < until {
                if self.is_out_of_memory() {
                    return self.starved();
                }
                sleep(LOOK_AGAIN).await;
            }
        }
    }

    fn is_out_of_memory(&self) -> bool {
        let tenant = self.tenant();
        tenant
            .as_ref()
            .is_some_and(|tenant| tenant.cage.is_out_of_memory())
    }

    /// Whether its time is up; if not, says when to look again. `None` when it is over.
    pub(super) fn look(&self, now: Instant) -> Option<Instant> {
        if now >= self.deadline {
            self.condemn(Doom {
                end: passed(&self.limits),
                by_deadline: true,
            });
        }
        let used = {
            let tenant = self.tenant();
            let cage = &tenant.as_ref()?.cage;
            if self.doomed.is_cancelled() {
                cage.kill();
                return Some(now + AGAIN);
            }
            cage.usage().cpu
        };
        let left = self.limits.cpu.0.saturating_sub(used.unwrap_or_default());
        if left.is_zero() {
            self.end_by(self.out_of_cpu());
            return Some(now + AGAIN);
        }
        Some(self.next_look(now, left))
    }

    /// Before, it cannot have used up what is `left` of its processor time, or not by much.
    pub(super) fn next_look(&self, now: Instant, left: Duration) -> Instant {
        let cores = u32::try_from(cores()).unwrap_or(u32::MAX);
        self.deadline.min(now + (left / cores).max(LOOK))
    }

    /// Whether nothing of it is alive any more, or nobody can tell.
    pub(super) fn has_ended(&self) -> bool {
        let tenant = self.tenant();
        let end = tenant.as_ref().map(|tenant| tenant.cage.try_end());
        !matches!(end, Some(Ok(None)))
    }

    /// The kernel's word on how it ended, and what it used.
    pub(super) fn outcome(&self) -> Option<(Result<Option<OneShotEnd>, SandboxError>, Usage)> {
        let tenant = self.tenant();
        let cage = &tenant.as_ref()?.cage;
        Some((cage.try_end(), cage.usage()))
    }

    /// Why it was ended, and by whom if not by itself.
    pub(super) fn reason(&self) -> Option<Doom> {
        self.doom().clone()
    }

    /// The words for one that has used too much.
    pub(super) fn out_of_cpu(&self) -> End {
        let limit = self.limits.cpu;
        End::new(
            EndReason::Timeout,
            format!("used up its {limit} of processor time"),
        )
    }

    /// Takes away what there is of it: from now on nobody can end it.
    pub(super) fn take(&self) -> Option<Tenant> {
        self.tenant().take()
    }

    fn tenant(&self) -> MutexGuard<'_, Option<Tenant>> {
        self.tenant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doom(&self) -> MutexGuard<'_, Option<Doom>> {
        self.doom.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The words for one that has had its time.
pub(super) fn passed(limits: &RunMaxima) -> End {
    let words = format!("passed its time limit of {}", limits.time);
    End::new(EndReason::Timeout, words)
}
