//! A cage whose program runs, or has run.

use std::{
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{
    super::{
        OneShotEnd, Usage,
        native::{self, Ended},
    },
    Bundle,
    order::Word,
};
use crate::{Alarm, Cage, CageLimits, SandboxError, cgroup::Group, native::launch::readable};

/// How long what was said last may take to arrive after the runtime's end.
const LAST_WORD_TIMEOUT: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(in super::super) struct Running {
    pub(super) cage: Cage,
    pub(super) bundle: Bundle,
    pub(super) group: Option<Box<dyn Group>>,
    /// Its end ends the first process.
    pub(super) channel: UnixStream,
    /// Whether the first process speaks by it.
    pub(super) private: bool,
    pub(super) limits: CageLimits,
    /// Processor time that went into making it.
    pub(super) spent: Duration,
    pub(super) killed: AtomicBool,
    pub(super) end: Mutex<Option<OneShotEnd>>,
}

// === impl Running ===

impl Running {
    /// The channel closes as well when the runtime ends.
    pub(in super::super) fn pidfd(&self) -> BorrowedFd<'_> {
        match self.private {
            true => self.channel.as_fd(),
            false => self.cage.pidfd(),
        }
    }

    pub(in super::super) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.end_all();
    }

    pub(in super::super) fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            let ended = match self.private {
                true => self.told()?,
                false => self.status()?,
            };
            let explain = |ended| {
                let tally = self.group.as_ref().map(|group| group.tally());
                let killed = self.killed.load(Ordering::Relaxed);
                native::explain_end(ended, tally.unwrap_or_default(), &self.limits, killed)
            };
            *end = ended.map(explain);
        }
        Ok(end.clone())
    }

    /// What the first process told; `None` inside when it cannot any more.
    fn told(&self) -> Result<Option<Option<Ended>>, SandboxError> {
        let wrong = "cannot listen to the cage";
        let news = readable(self.channel.as_fd(), Duration::ZERO);
        if !news.map_err(SandboxError::system(wrong))? {
            return Ok(None);
        }
        let word = Word::hear(self.channel.as_fd(), Instant::now() + LAST_WORD_TIMEOUT);
        // Its kernel would take a tenth of a second to end by itself, and keep the pipes open.
        self.end_all();
        Ok(Some(match word.map_err(SandboxError::system(wrong))? {
            Some(Word::Ended(ended)) => Some(ended),
            Some(Word::Ready(_) | Word::Started | Word::Failed(_)) | None => None,
        }))
    }

    /// All that a virtual machine tells is a number. Inside none when it was killed.
    fn status(&self) -> Result<Option<Option<Ended>>, SandboxError> {
        // Leaves it to the cage to reap it.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.cage.pidfd()), look)
            .ok()
            .flatten();
        let ended = self.cage.try_wait()?.is_some();
        let code = status.and_then(|status| status.exit_status());
        Ok(ended.then(|| code.map(Ended::Exited)))
    }

    /// Nobody in the cage is spared, its kernel neither.
    fn end_all(&self) {
        if let Some(group) = &self.group
            && let Err(error) = group.end()
        {
            tracing::warn!(cage = %self.bundle.id, %error, "cannot hurry the end of a cage");
        }
        self.cage.kill();
    }

    pub(in super::super) fn is_out_of_memory(&self) -> bool {
        let tally = self.group.as_ref().map(|group| group.tally());
        tally.is_some_and(|tally| tally.oom_kills > 0)
    }

    pub(in super::super) fn alarm(&self) -> Option<Alarm> {
        self.group.as_ref()?.memory_alarm()
    }

    pub(in super::super) fn usage(&self) -> Usage {
        let group = self.group.as_ref();
        let used = group.and_then(|group| group.cpu_time());
        Usage {
            cpu: used.map(|used| used.saturating_sub(self.spent)),
            memory: group.and_then(|group| group.peak()),
        }
    }
}
