use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use super::{BanRules, Conduct};
use crate::AddressRange;

/// Addresses whose conduct is remembered.
pub(super) const ROOM: usize = 100_000;
/// How long it is remembered after a ban that there was one.
pub(super) const MEMORY: Duration = Duration::from_secs(24 * 3600);

/// What addresses did. Two generations: when the young one is full it becomes the old one, whose
/// addresses go unless they are seen again. So the least recent go first, and nobody looks for
/// them.
#[derive(Debug, Default)]
pub(super) struct Counts {
    young: HashMap<AddressRange, Record>,
    old: HashMap<AddressRange, Record>,
}

/// What one address did.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    logins: Window,
    misses: Window,
    /// Bans so far.
    times: u32,
    /// When the last of them ends or ended.
    ends: Option<SystemTime>,
}

/// A count that begins again when its time is over.
#[derive(Debug, Clone, Copy, Default)]
struct Window {
    begun: Option<SystemTime>,
    count: u32,
}

// === impl Counts ===

impl Counts {
    /// Counts, and returns how often that was within its window; `None` where nothing was counted.
    pub(super) fn note(
        &mut self,
        who: AddressRange,
        conduct: Conduct,
        rules: &BanRules,
        now: SystemTime,
    ) -> Option<u32> {
        match conduct {
            Conduct::Known => None,
            Conduct::LoggedIn => {
                // The most see nobody here, and no record is made of them.
                if self.young.contains_key(&who) || self.old.contains_key(&who) {
                    let logins = &mut self.record(who).logins;
                    if logins.count <= rules.logins / 2 {
                        *logins = Window::default();
                    }
                }
                None
            }
            Conduct::FailedLogin => {
                let window = rules.login_window;
                Some(self.record(who).logins.count(window, now))
            }
            Conduct::Miss => Some(self.record(who).misses.count(rules.miss_window, now)),
        }
    }

    /// Begins a ban: the how manieth it is, and how long it takes.
    pub(super) fn banned(
        &mut self,
        who: AddressRange,
        rules: &BanRules,
        now: SystemTime,
    ) -> (u32, Duration) {
        let record = self.record(who);
        let recent = record.ends.is_some_and(|ends| now < ends + MEMORY);
        let times = if recent {
            record.times.saturating_add(1)
        } else {
            1
        };
        let twice = 1_u32 << (times - 1).min(16);
        let time = rules.time.saturating_mul(twice).min(rules.longest);
        *record = Record {
            times,
            ends: Some(now + time),
            ..Record::default()
        };
        (times, time)
    }

    /// Remembers a ban of before, the `times`th, which ends or ended then.
    pub(super) fn remember(&mut self, who: AddressRange, times: u32, ends: SystemTime) {
        *self.record(who) = Record {
            times,
            ends: Some(ends),
            ..Record::default()
        };
    }

    pub(super) fn forget(&mut self, who: &AddressRange) {
        self.young.remove(who);
        self.old.remove(who);
    }

    fn record(&mut self, who: AddressRange) -> &mut Record {
        if self.young.len() >= ROOM / 2 && !self.young.contains_key(&who) {
            self.old = std::mem::take(&mut self.young);
        }
        let old = &mut self.old;
        let known = || old.remove(&who).unwrap_or_default();
        self.young.entry(who).or_insert_with(known)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

impl Window {
    fn count(&mut self, window: Duration, now: SystemTime) -> u32 {
        // A clock that was set back ends it too.
        let age = self.begun.and_then(|begun| now.duration_since(begun).ok());
        if age.is_none_or(|age| age > window) {
            *self = Self {
                begun: Some(now),
                count: 0,
            };
        }
        self.count = self.count.saturating_add(1);
        self.count
    }
}
