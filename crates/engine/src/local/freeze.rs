//! Replicas that stand still, and go on when somebody wants them.

use std::sync::Arc;

use hob_model::{End, EndReason, port::EngineError};
use tokio::task::spawn_blocking;

use super::{
    fleet::Fleet,
    phase::Entry,
    replica::Replica,
    retire::{Farewell, see_off},
};

impl Fleet {
    /// Has every replica stand still. False, and nothing is changed, when one of them has a call,
    /// or one cannot be frozen.
    pub(super) async fn freeze(self: &Arc<Self>) -> Result<bool, EngineError> {
        let _turn = self.freezer.lock().await;
        let resting = self.lay_down();
        if resting.is_empty() {
            return Ok(false);
        }
        let all = resting.clone();
        let freeze = move || all.iter().try_for_each(|replica| replica.freeze());
        let frozen = spawn_blocking(freeze).await;
        let frozen = frozen.unwrap_or_else(|panic| Err(panic.to_string()));
        let Err(problem) = frozen else {
            // One that was taken out of service meanwhile was told to end, perhaps too early.
            let state = self.state();
            let leaving = resting.iter().filter(|replica| !state.is_frozen(replica));
            leaving.for_each(|replica| drop(replica.thaw()));
            return Ok(true);
        };
        {
            let mut state = self.state();
            state.wanted = state.wanted.max(state.frozen_count());
        }
        self.thaw(&resting);
        let name = &self.name;
        Err(EngineError::Host(format!(
            "function `{name}` stays awake: {problem}"
        )))
    }

    /// Takes all replicas off the list of those that take calls: a call that comes now wakes the
    /// function. Empty, and nothing is changed, if one has a call.
    fn lay_down(&self) -> Vec<Arc<Replica>> {
        let mut state = self.state();
        // Whoever waits for a start wants the others awake.
        if state.attempt.is_some() || self.closed.is_cancelled() {
            return Vec::new();
        }
        let awake: Vec<_> = state.entries.iter().filter_map(Entry::awake).collect();
        let able = awake.iter().all(|(replica, _)| replica.can_freeze());
        if awake.is_empty() || !able {
            return Vec::new();
        }
        let paused = awake.iter().take_while(|(_, backend)| backend.pause());
        let paused = paused.count();
        if paused < awake.len() {
            let undone = awake.iter().take(paused);
            undone.for_each(|(_, backend)| backend.resume());
            // A call that came meanwhile may wait for a place at one of them.
            self.publish(&state);
            return Vec::new();
        }
        let resting = awake.into_iter().map(|(replica, _)| Arc::clone(replica));
        let resting = resting.collect();
        state.entries.iter_mut().for_each(Entry::lie_down);
        state.wanted = 0;
        self.publish(&state);
        resting
    }

    /// Has frozen replicas go on, as many as are missing; tells how many that were.
    pub(super) async fn thaw_missing(self: &Arc<Self>) -> usize {
        let _turn = self.freezer.lock().await;
        let missing: Vec<_> = {
            let state = self.state();
            let frozen = state.entries.iter().filter(|entry| entry.is_frozen());
            let frozen = frozen.map(|entry| Arc::clone(&entry.replica));
            frozen.take(self.missing(&state) as usize).collect()
        };
        self.thaw(&missing)
    }

    /// Has replicas go on, and those that were frozen take calls again. The caller holds the
    /// freezer. Writes one word to the kernel for each, which is sooner done than handed to another
    /// thread, and a call waits for it.
    fn thaw(self: &Arc<Self>, replicas: &[Arc<Replica>]) -> usize {
        let doomed: Vec<_> = replicas.iter().map(|replica| replica.is_doomed()).collect();
        let thawed: Vec<_> = replicas.iter().map(|replica| replica.thaw()).collect();
        let (mut awake, mut last_end) = (0, None);
        let mut state = self.state();
        for ((replica, thawed), doomed) in replicas.iter().zip(thawed).zip(doomed) {
            let same = |entry: &&mut Entry| Arc::ptr_eq(&entry.replica, replica);
            let found = state.entries.iter_mut().find(same);
            let Some(entry) = found.filter(|entry| entry.is_frozen()) else {
                continue;
            };
            let Err(problem) = thawed else {
                if doomed && let Some(leaving) = entry.drain() {
                    let end = End::new(EndReason::Exit, "it was killed while it was frozen");
                    see_off(self, leaving, Farewell::Condemned(end.clone()));
                    last_end = Some(end);
                    continue;
                }
                entry.get_up();
                awake += 1;
                continue;
            };
            tracing::error!(function = %self.name, replica = %replica.id, %problem, "a frozen replica is given up");
            let end = End::new(EndReason::Host, "its replica could not be thawed");
            if let Some(leaving) = entry.drain() {
                see_off(self, leaving, Farewell::Condemned(end));
            }
        }
        if last_end.is_some() {
            state.last_end = last_end;
        }
        self.publish(&state);
        awake
    }
}

// === impl Replica ===

impl Replica {
    /// Whether [`Replica::freeze`] can work on this machine.
    pub(super) fn can_freeze(&self) -> bool {
        self.cage().is_some_and(|cage| cage.can_freeze())
    }

    /// Whether it stands still, as the kernel knows it.
    pub(super) fn is_frozen(&self) -> bool {
        self.cage().is_some_and(|cage| cage.is_frozen())
    }

    /// Whether somebody has killed it while it stood still: with cgroup version 1 it ends when it
    /// goes on, and no call should be with it then.
    fn is_doomed(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        status.is_ok_and(|status| kill_is_pending(&status))
    }

    /// Has everything in the cage stand still. Blocks for some milliseconds.
    pub(super) fn freeze(&self) -> Result<(), String> {
        // One that has ended stands still enough.
        let frozen = self.cage().map_or(Ok(()), |cage| cage.freeze());
        frozen.map_err(|problem| format!("replica {}: {problem}", self.id))
    }

    /// Has it go on.
    pub(super) fn thaw(&self) -> Result<(), String> {
        let thawed = self.cage().map_or(Ok(()), |cage| cage.thaw());
        thawed.map_err(|problem| format!("replica {}: {problem}", self.id))
    }
}

/// Reads the text of `/proc/PID/status`, proc_pid_status(5): signals that wait for the process and
/// for its first thread, as masks.
fn kill_is_pending(status: &str) -> bool {
    const KILL: u64 = 1 << (9 - 1);
    let masks = status.lines().filter_map(|line| {
        let (key, mask) = line.split_once(':')?;
        let mask = u64::from_str_radix(mask.trim(), 16).ok();
        mask.filter(|_| ["SigPnd", "ShdPnd"].contains(&key))
    });
    masks.fold(0, |all, mask| all | mask) & KILL != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_that_waits_is_seen() {
        let status = |thread: &str, process: &str| {
            let rest = "SigBlk:\t0000000000000100";
            format!("Name:\tpython3\nSigPnd:\t{thread}\nShdPnd:\t{process}\n{rest}\n")
        };
        let none = "0000000000000000";
        assert!(!kill_is_pending(&status(none, none)));
        assert!(!kill_is_pending(&status("0000000000004000", none)));
        assert!(kill_is_pending(&status(none, "0000000000000100")));
        assert!(kill_is_pending(&status("0000000000004100", none)));
    }
}
