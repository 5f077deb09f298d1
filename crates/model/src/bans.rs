//! Addresses that nobody is served at, since they have tried too often what they may not.

mod book;
mod conduct;
mod counts;
mod rules;

use std::{
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::AddressRange;
use book::Book;
pub use book::{Ban, BanError, BanOrigin};
pub use conduct::Conduct;
use counts::Counts;
pub use rules::{BanRules, Exempt};

/// Who is shut out, and who is on the way there. Both planes share it: the gateway asks and feeds
/// it, the control plane shows, changes and keeps it. In memory, and never longer locked than for a
/// look.
#[derive(Debug)]
pub struct Bans {
    rules: BanRules,
    exempt: Vec<Exempt>,
    /// How many bans there are.
    live: AtomicUsize,
    refused: [AtomicU64; 2],
    book: RwLock<Book>,
    counts: Mutex<Counts>,
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnedAway {
    /// He is shut out.
    Banned,
    /// He has as many connections as one caller may have.
    Crowd,
}

/// What is to become of the answer to somebody's conduct.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It goes out at once.
    Go,
    /// It waits for so long.
    Wait(Duration),
    /// It is the last for a while. The ban is new.
    ShutOut(Ban),
}

// === impl Bans ===

impl Bans {
    /// How long after its end a ban by conduct has the next one be longer.
    pub const MEMORY: Duration = counts::MEMORY;

    /// Nobody is shut out yet, and those of `exempt` never will be.
    pub fn new(rules: BanRules, exempt: Vec<Exempt>) -> Self {
        Self {
            rules,
            exempt,
            live: AtomicUsize::new(0),
            refused: Default::default(),
            book: RwLock::default(),
            counts: Mutex::default(),
        }
    }

    /// Whether `address` is shut out now. One atomic load while nobody is.
    pub fn shuts_out(&self, address: IpAddr) -> bool {
        self.live.load(Ordering::Relaxed) > 0 && self.shuts_out_at(address, SystemTime::now())
    }

    fn shuts_out_at(&self, address: IpAddr, now: SystemTime) -> bool {
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        book.find(address, now).is_some()
    }

    /// Why `address` never comes to be shut out, if that is so.
    pub fn exempt(&self, address: IpAddr) -> Option<&'static str> {
        let mut exempt = self.exempt.iter();
        let found = exempt.find(|exempt| exempt.range.contains(address))?;
        Some(found.why)
    }

    /// Counts what `address` did.
    pub fn note(&self, address: IpAddr, conduct: Conduct) -> Outcome {
        self.note_at(address, conduct, SystemTime::now())
    }

    fn note_at(&self, address: IpAddr, conduct: Conduct, now: SystemTime) -> Outcome {
        if !self.rules.enabled || self.exempt(address).is_some() {
            return Outcome::Go;
        }
        // What was under way when the ban came is not held against him twice.
        if self.count() > 0 && self.shuts_out_at(address, now) {
            return Outcome::Go;
        }
        let range = AddressRange::of_caller(address);
        let mut counts = self.counts();
        let Some(count) = counts.note(range, conduct, &self.rules, now) else {
            return Outcome::Go;
        };
        let (most, what) = match conduct {
            Conduct::FailedLogin => (self.rules.logins, "failed logins"),
            Conduct::Miss | Conduct::LoggedIn | Conduct::Known => {
                (self.rules.misses, "requests for nothing")
            }
        };
        if count < most {
            return wait(conduct, count, most);
        }
        let (times, time) = counts.banned(range, &self.rules, now);
        drop(counts);
        let ban = Ban {
            address: range,
            since: now,
            until: Some(now + time),
            reason: format!("{count} {what}"),
            origin: BanOrigin::Conduct,
            times,
        };
        match self.enter(ban.clone(), now) {
            Ok(()) => Outcome::ShutOut(ban),
            // No room: live bans are never pushed out.
            Err(_) => Outcome::Wait(WAIT_MAX),
        }
    }

    /// Shuts somebody out because the owner says so.
    ///
    /// # Errors
    /// When that would shut out who must not be, or there is no room.
    pub fn add(&self, ban: Ban) -> Result<(), BanError> {
        self.check(&ban)?;
        self.enter(ban, SystemTime::now())
    }

    /// Brings back a ban that was kept over a restart. Of one that has ended it is remembered that
    /// there was one.
    ///
    /// # Errors
    /// When that would shut out who must not be by now, or there is no room.
    pub fn restore(&self, ban: Ban) -> Result<(), BanError> {
        self.restore_at(ban, SystemTime::now())
    }

    fn restore_at(&self, ban: Ban, now: SystemTime) -> Result<(), BanError> {
        self.check(&ban)?;
        if let (BanOrigin::Conduct, Some(until)) = (ban.origin, ban.until) {
            self.counts().remember(ban.address, ban.times, until);
        }
        match ban.until {
            Some(until) if until <= now => Ok(()),
            _ => self.enter(ban, now),
        }
    }

    fn check(&self, ban: &Ban) -> Result<(), BanError> {
        let mut exempt = self.exempt.iter();
        match exempt.find(|exempt| exempt.range.overlaps(&ban.address)) {
            None => Ok(()),
            Some(exempt) => Err(BanError::Exempt {
                address: ban.address,
                range: exempt.range,
                why: exempt.why,
            }),
        }
    }

    fn enter(&self, ban: Ban, now: SystemTime) -> Result<(), BanError> {
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        book.add(ban, now)?;
        self.live.store(book.len(), Ordering::Relaxed);
        Ok(())
    }

    /// Lets somebody in again, and forgets what he did. `false` when he is not shut out.
    pub fn remove(&self, range: &AddressRange) -> bool {
        self.counts().forget(range);
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let removed = book.remove(range);
        self.live.store(book.len(), Ordering::Relaxed);
        removed
    }

    /// Who is shut out now, sorted by address.
    pub fn list(&self) -> Vec<Ban> {
        let now = SystemTime::now();
        let book = self.book.read().unwrap_or_else(PoisonError::into_inner);
        book.list(now)
    }

    /// How many bans there are.
    pub fn count(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// Forgets bans that have ended, and returns those that are new since it was last asked: what
    /// has to be kept.
    pub fn sweep(&self) -> Vec<Ban> {
        if self.count() == 0 {
            return Vec::new();
        }
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        book.sweep(SystemTime::now());
        self.live.store(book.len(), Ordering::Relaxed);
        book.take_new()
    }

    /// Counts a connection or a request that was refused.
    pub fn refuse(&self, why: TurnedAway) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused so far.
    pub fn refused(&self, why: TurnedAway) -> u64 {
        self.refused[why as usize].load(Ordering::Relaxed)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Bans {
    /// With the usual rules, and nobody exempt.
    fn default() -> Self {
        Self::new(BanRules::default(), Vec::new())
    }
}

/// Longest wait of an answer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// First wait of an answer to a failed login; each further one is twice as long.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Wait of an answer to a request for nothing: a storm of them is to come to an end, not to last.
const WAIT_MISS: Duration = Duration::from_millis(200);

/// The first half of what shuts out is free, the second is slow.
fn wait(conduct: Conduct, count: u32, most: u32) -> Outcome {
    let beyond = count.saturating_sub(most.div_ceil(2));
    match (conduct, beyond) {
        (_, 0) | (Conduct::LoggedIn | Conduct::Known, _) => Outcome::Go,
        (Conduct::Miss, _) => Outcome::Wait(WAIT_MISS),
        (Conduct::FailedLogin, beyond) => {
            let twice = 1 << (beyond - 1).min(10);
            Outcome::Wait((WAIT_FIRST * twice).min(WAIT_MAX))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{book::AUTOMATIC_MAX, *};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    fn fail(bans: &Bans, address: &str, now: SystemTime) -> Outcome {
        bans.note_at(ip(address), Conduct::FailedLogin, now)
    }

    #[test]
    fn failed_logins_are_slowed_down_and_then_shut_out() {
        let bans = Bans::default();
        let who = "203.0.113.9";
        let seconds = |seconds| Outcome::Wait(Duration::from_secs(seconds));
        for expected in [0, 0, 0, 0, 0, 1, 2, 4, 8] {
            let expected = if expected == 0 {
                Outcome::Go
            } else {
                seconds(expected)
            };
            assert_eq!(fail(&bans, who, start()), expected);
            assert!(!bans.shuts_out_at(ip(who), start()));
        }
        let Outcome::ShutOut(ban) = fail(&bans, who, start()) else {
            panic!("the tenth shuts out")
        };
        assert_eq!(ban.reason, "10 failed logins");
        assert_eq!(ban.until, Some(start() + Duration::from_secs(3600)));
        assert!(bans.shuts_out_at(ip(who), start()));
        assert!(bans.shuts_out_at(ip("::ffff:203.0.113.9"), start()));
        assert!(!bans.shuts_out_at(ip("203.0.113.8"), start()));
        assert!(!bans.shuts_out_at(ip(who), start() + Duration::from_secs(3601)));
    }

    #[test]
    fn who_comes_back_is_shut_out_for_longer() {
        let bans = Bans::default();
        let mut now = start();
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            let mut last = Outcome::Go;
            for _ in 0..10 {
                last = fail(&bans, "203.0.113.9", now);
            }
            let Outcome::ShutOut(ban) = last else {
                panic!("{last:?}")
            };
            assert_eq!(ban.until, Some(now + Duration::from_secs(3600 * hours)));
            now += Duration::from_secs(3600 * hours + 60);
        }
        // A day after its end all is forgotten.
        now += DAY;
        let mut last = Outcome::Go;
        for _ in 0..10 {
            last = fail(&bans, "203.0.113.9", now);
        }
        assert!(matches!(last, Outcome::ShutOut(ban) if ban.times == 1));
    }

    #[test]
    fn a_restart_forgets_no_ban_that_makes_the_next_one_longer() {
        let hour = Duration::from_secs(3600);
        let kept = |address: &str, times| Ban {
            address: address.parse().expect(address),
            since: start(),
            until: Some(start() + hour),
            reason: "10 failed logins".into(),
            origin: BanOrigin::Conduct,
            times,
        };
        // Of one that lasts, of one that has ended, and of one that is long past.
        for (now, live, next) in [
            (start(), 1, 8),
            (start() + hour, 0, 8),
            (start() + DAY * 3, 0, 1),
        ] {
            let bans = Bans::default();
            bans.restore_at(kept("203.0.113.9", 3), now).expect("room");
            assert_eq!(bans.count(), live);
            let mut last = Outcome::Go;
            for _ in 0..10 {
                last = fail(&bans, "203.0.113.9", now + hour);
            }
            let Outcome::ShutOut(ban) = last else {
                panic!("{last:?}")
            };
            assert_eq!(ban.until, Some(now + hour + hour * next));
        }
        let exempt = Exempt {
            range: "203.0.113.0/24".parse().expect("a range"),
            why: "it is yours",
        };
        let bans = Bans::new(BanRules::default(), vec![exempt]);
        bans.restore_at(kept("203.0.113.9", 1), start())
            .expect_err("exempt");
        assert_eq!(bans.count(), 0);
    }

    #[test]
    fn a_window_ends_and_a_login_clears_what_is_little() {
        let bans = Bans::default();
        for minute in 0..100 {
            let now = start() + Duration::from_secs(120 * minute);
            let outcome = fail(&bans, "203.0.113.9", now);
            assert!(!matches!(outcome, Outcome::ShutOut(_)), "{minute}");
        }
        let who = ip("203.0.113.10");
        for _ in 0..10 {
            for _ in 0..4 {
                assert_eq!(fail(&bans, "203.0.113.10", start()), Outcome::Go);
            }
            bans.note_at(who, Conduct::LoggedIn, start());
        }
        for _ in 0..6 {
            fail(&bans, "203.0.113.10", start());
        }
        // Too many by now: a login of somebody else behind the same address proves nothing.
        bans.note_at(who, Conduct::LoggedIn, start());
        for _ in 0..3 {
            fail(&bans, "203.0.113.10", start());
        }
        let outcome = fail(&bans, "203.0.113.10", start());
        assert!(matches!(outcome, Outcome::ShutOut(_)), "{outcome:?}");
    }

    #[test]
    fn a_token_buys_nobody_more_guesses() {
        let bans = Bans::default();
        for _ in 0..9 {
            fail(&bans, "203.0.113.9", start());
            let known = bans.note_at(ip("203.0.113.9"), Conduct::Known, start());
            assert_eq!(known, Outcome::Go);
        }
        let outcome = fail(&bans, "203.0.113.9", start());
        assert!(matches!(outcome, Outcome::ShutOut(_)), "{outcome:?}");
    }

    #[test]
    fn storms_shut_out_too_and_ipv6_counts_by_network() {
        let bans = Bans::default();
        for number in 1..200 {
            let address = ip(&format!("2001:db8::{number:x}"));
            let outcome = bans.note_at(address, Conduct::Miss, start());
            let slow = matches!(outcome, Outcome::Wait(_));
            assert_eq!(slow, number > 100, "{number}");
        }
        let outcome = bans.note_at(ip("2001:db8::ffff"), Conduct::Miss, start());
        let Outcome::ShutOut(ban) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(ban.address.to_string(), "2001:db8::/64");
        assert!(bans.shuts_out_at(ip("2001:db8::1"), start()));
        assert!(!bans.shuts_out_at(ip("2001:db8:0:1::1"), start()));
    }

    #[test]
    fn the_exempt_are_never_shut_out() {
        let exempt = Exempt {
            range: "127.0.0.0/8".parse().expect("a range"),
            why: "it is this machine itself",
        };
        let bans = Bans::new(BanRules::default(), vec![exempt]);
        for _ in 0..1000 {
            assert_eq!(fail(&bans, "127.0.0.1", start()), Outcome::Go);
        }
        for text in ["127.0.0.1", "0.0.0.0/0", "127.3.0.0/16"] {
            let ban = Ban::by_hand(text.parse().expect(text), None, String::new());
            let error = bans.add(ban).expect_err(text).to_string();
            assert!(error.contains("it is this machine itself"), "{error}");
        }
        let off = BanRules {
            enabled: false,
            ..BanRules::default()
        };
        let bans = Bans::new(off, Vec::new());
        for _ in 0..1000 {
            assert_eq!(fail(&bans, "203.0.113.9", start()), Outcome::Go);
        }
    }

    #[test]
    fn many_addresses_push_out_no_ban_and_take_no_more_room() {
        let bans = Bans::default();
        for _ in 0..10 {
            fail(&bans, "203.0.113.9", start());
        }
        for number in 0..(counts::ROOM as u32 * 3) {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            bans.note_at(address, Conduct::FailedLogin, start());
        }
        assert!(bans.counts().len() <= counts::ROOM);
        assert!(bans.shuts_out_at(ip("203.0.113.9"), start()));
        let few = BanRules {
            logins: 1,
            ..BanRules::default()
        };
        let bans = Bans::new(few, Vec::new());
        for number in 0..AUTOMATIC_MAX as u32 + 10 {
            let address = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
            bans.note_at(address, Conduct::FailedLogin, start());
        }
        assert_eq!(bans.count(), AUTOMATIC_MAX);
        assert!(bans.shuts_out_at(ip("10.0.0.0"), start()));
        // The owner has a room of his own.
        let ban = Ban::by_hand(
            "203.0.113.0/24".parse().expect("a range"),
            None,
            String::new(),
        );
        bans.add(ban).expect("room");
        assert!(bans.shuts_out(ip("203.0.113.77")));
    }

    #[test]
    fn bans_by_hand_are_listed_kept_and_lifted() {
        let bans = Bans::default();
        assert!(!bans.shuts_out(ip("203.0.113.77")));
        let range: AddressRange = "203.0.113.0/24".parse().expect("a range");
        bans.add(Ban::by_hand(range, None, "rude".into()))
            .expect("room");
        assert!(bans.shuts_out(ip("203.0.113.77")));
        assert_eq!(bans.list().len(), 1);
        assert_eq!(bans.sweep().len(), 1);
        assert_eq!(bans.sweep().len(), 0);
        assert!(bans.remove(&range));
        assert!(!bans.remove(&range));
        assert!(!bans.shuts_out(ip("203.0.113.77")));
        assert_eq!(bans.count(), 0);
    }
}
