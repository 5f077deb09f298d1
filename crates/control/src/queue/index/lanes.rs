//! Which call is next: so many of a function at a time, functions in turn, and none before it is due.

use std::collections::BTreeMap;

use super::{Due, Index, Job, Kind, LaneKey};

/// Most attempts at once, of all functions and callbacks together: each holds a body and an answer.
pub(super) const MOST_AT_ONCE: usize = 1024;
/// Places that only functions get which have fewer than so many.
pub(super) const SHARE: usize = MOST_AT_ONCE / 4;
/// Most callbacks at once: they may hang at servers that do not answer.
pub(super) const MOST_CALLBACKS: usize = 256;
/// Most bytes of the attempts at once: of their bodies, and of the room for their answers. One is
/// made in any case.
pub(super) const BYTES_AT_ONCE: u64 = 1 << 30;

/// The work of a [`LaneKey`].
#[derive(Default)]
pub(super) struct Lane {
    /// By the time at which they are due, then by their number; with their bytes.
    pub(super) waiting: BTreeMap<(u64, i64), u64>,
    pub(super) running: usize,
    /// Whether it has a place in `Index::turn`.
    in_turn: bool,
    timer: Option<u64>,
    /// When the last of those that were not tried yet was due: the next one is due no sooner.
    newest: u64,
}

/// What a lane came to in its turn.
enum Started {
    Job(Job),
    /// It has nothing to do now.
    Nothing,
    /// It has, and others go first.
    Held,
    /// Its next call does not fit beside those that are made.
    TooLarge,
}

impl Index {
    /// The next call to work on, if one is due and its lane has room: `limit` says how much.
    pub(in crate::queue) fn next(
        &mut self,
        now: u64,
        limit: impl Fn(&LaneKey) -> usize,
    ) -> Option<Job> {
        while let Some((due, _)) = self.timers.first()
            && *due <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            if let Some(lane) = self.lanes.get_mut(&key) {
                lane.timer = None;
            }
            self.touch(&key);
        }
        let mut held = Vec::new();
        let mut found = None;
        while self.running.len() < MOST_AT_ONCE
            && let Some(key) = self.turn.pop_front()
        {
            match self.start(&key, now, limit(&key)) {
                Started::Job(job) => {
                    found = Some(job);
                    break;
                }
                Started::Nothing => {}
                Started::Held => held.push(key),
                // The next in turn, however large: smaller ones do not pass it for ever.
                Started::TooLarge => {
                    held.push(key);
                    break;
                }
            }
        }
        // They come first as soon as something ends.
        for key in held.into_iter().rev() {
            self.turn.push_front(key);
        }
        found
    }

    /// Takes the first call of a lane, which was taken from its place in turn.
    fn start(&mut self, key: &LaneKey, now: u64, limit: usize) -> Started {
        let Some(lane) = self.lanes.get_mut(key) else {
            return Started::Nothing;
        };
        lane.in_turn = false;
        // One that ends, or comes, has the lane looked at again.
        if lane.running >= limit {
            return Started::Nothing;
        }
        let Some((&(due, seq), &bytes)) = lane.waiting.first_key_value() else {
            self.tidy(key);
            return Started::Nothing;
        };
        if due > now {
            self.set_timer(key, due);
            return Started::Nothing;
        }
        let room = match key.kind {
            Kind::Call => self.answer_room,
            Kind::Callback => 0,
        };
        let takes = bytes + room;
        let too_large = !self.running.is_empty() && self.running_bytes + takes > BYTES_AT_ONCE;
        let is_held = match key.kind {
            Kind::Callback => self.running_callbacks >= MOST_CALLBACKS,
            Kind::Call => lane.running >= SHARE && self.running.len() >= MOST_AT_ONCE - SHARE,
        };
        if too_large || is_held {
            lane.in_turn = true;
            return match is_held {
                true => Started::Held,
                false => Started::TooLarge,
            };
        }
        lane.waiting.pop_first();
        lane.running += 1;
        self.places.remove(&seq);
        self.running.insert(seq, bytes);
        self.running_bytes += takes;
        self.running_callbacks += usize::from(key.kind == Kind::Callback);
        self.touch(key);
        Started::Job(Job {
            seq,
            lane: key.clone(),
        })
    }

    /// Has a lane looked at again that was held up from outside; whether there is one.
    pub(in crate::queue) fn look_again(&mut self, key: &LaneKey) -> bool {
        self.touch(key);
        self.lanes.contains_key(key)
    }

    /// When [`Index::next`] is worth asking again, should nothing else happen.
    pub(in crate::queue) fn next_due(&self) -> Option<u64> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// The calls that are worked on now.
    pub(in crate::queue) fn running(&self) -> Vec<i64> {
        self.running.keys().copied().collect()
    }

    /// The bytes of a call that is worked on.
    pub(in crate::queue) fn bytes_of(&self, seq: i64) -> u64 {
        self.running.get(&seq).copied().unwrap_or_default()
    }

    /// Whether a call is worked on now.
    pub(in crate::queue) fn is_running(&self, seq: i64) -> bool {
        self.running.contains_key(&seq)
    }

    pub(super) fn wait(&mut self, key: LaneKey, seq: i64, bytes: u64, due: Due) {
        let lane = self.lanes.entry(key.clone()).or_default();
        let due = match due {
            Due::At(due) => due,
            Due::InOrder(due) => {
                lane.newest = lane.newest.max(due);
                lane.newest
            }
        };
        lane.waiting.insert((due, seq), bytes);
        self.places.insert(seq, due);
        self.touch(&key);
    }

    /// Takes a call out of what is worked on.
    pub(super) fn leave(&mut self, job: &Job) -> Option<u64> {
        let bytes = self.running.remove(&job.seq)?;
        let took = bytes + self.answer_room(job.lane.kind);
        self.running_bytes = self.running_bytes.saturating_sub(took);
        if job.lane.kind == Kind::Callback {
            self.running_callbacks = self.running_callbacks.saturating_sub(1);
        }
        if let Some(lane) = self.lanes.get_mut(&job.lane) {
            lane.running = lane.running.saturating_sub(1);
        }
        self.touch(&job.lane);
        Some(bytes)
    }

    /// Has a lane looked at in its turn.
    fn touch(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get_mut(key)
            && !lane.in_turn
        {
            lane.in_turn = true;
            self.turn.push_back(key.clone());
        }
    }

    fn set_timer(&mut self, key: &LaneKey, due: u64) {
        let Some(lane) = self.lanes.get_mut(key) else {
            return;
        };
        match lane.timer {
            Some(timer) if timer <= due => return,
            Some(timer) => self.timers.remove(&(timer, key.clone())),
            None => true,
        };
        lane.timer = Some(due);
        self.timers.insert((due, key.clone()));
    }

    /// Lets go of a lane with nothing in it.
    pub(super) fn tidy(&mut self, key: &LaneKey) {
        if let Some(lane) = self.lanes.get(key)
            && lane.waiting.is_empty()
            && lane.running == 0
        {
            if let Some(timer) = lane.timer {
                self.timers.remove(&(timer, key.clone()));
            }
            self.lanes.remove(key);
        }
    }

    fn answer_room(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Call => self.answer_room,
            Kind::Callback => 0,
        }
    }
}
