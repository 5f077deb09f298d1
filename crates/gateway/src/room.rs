//! Memory for bodies that are read before their callers are let in.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hob_model::AddressRange;

/// What all such bodies may take at the same time, in bytes.
const WHOLE: usize = 128 << 20;
/// What those of one caller may: one of the longest.
const SHARE: usize = WHOLE / 8;

/// What is left of it. Bounded as the bytes are: who has none is not remembered.
#[derive(Default)]
pub(crate) struct Room(Mutex<HashMap<AddressRange, usize>>);

/// A part of it, until this is dropped.
pub(crate) struct Held {
    room: Arc<Room>,
    caller: AddressRange,
    bytes: usize,
}

impl Room {
    /// Nothing yet, for a body of this caller.
    pub(crate) fn begin(self: &Arc<Self>, caller: IpAddr) -> Held {
        Held {
            room: Arc::clone(self),
            caller: AddressRange::of_caller(caller),
            bytes: 0,
        }
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<AddressRange, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// Takes more; `false` when the caller has its share, or all is taken.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        if bytes == 0 {
            return true;
        }
        let mut taken = self.room.taken();
        let all: usize = taken.values().sum();
        let own = taken.get(&self.caller).copied().unwrap_or(0);
        let fits = bytes <= WHOLE - all && bytes <= SHARE - own;
        if fits {
            taken.insert(self.caller, own + bytes);
            self.bytes += bytes;
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        if let Some(own) = taken.get_mut(&self.caller) {
            *own -= self.bytes;
            if *own == 0 {
                taken.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_more_than_a_share_and_all_comes_back() {
        let room = Arc::new(Room::default());
        let begin = |last: u8| room.begin([192, 0, 2, last].into());
        let (mut one, mut same) = (begin(1), begin(1));
        assert!(one.grow(SHARE - 1) && same.grow(1));
        assert!(!one.grow(1) && !same.grow(1));
        let mut others: Vec<_> = (2..=8).map(begin).collect();
        assert!(others.iter_mut().all(|other| other.grow(SHARE)));
        let mut late = begin(9);
        assert!(!late.grow(1) && late.grow(0));
        drop(one);
        assert!(late.grow(SHARE - 1) && !late.grow(1));
        drop((late, same, others));
        assert!(room.taken().is_empty());
    }
}
