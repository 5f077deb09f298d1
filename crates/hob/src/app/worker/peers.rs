use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Bits of an IPv6 address that tell one machine's from others': it has all that begin so.
const PREFIX: u32 = 64;

/// How many connections there are from where.
#[derive(Debug, Clone)]
pub(super) struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    /// Most of one of them.
    most: usize,
}

/// A connection of one of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Visit {
    peers: Peers,
    from: IpAddr,
}

// === impl Peers ===

impl Peers {
    pub(super) fn new(most: usize) -> Self {
        Self {
            counts: Arc::default(),
            most,
        }
    }

    /// `None` when there are as many as may be.
    pub(super) fn enter(&self, peer: IpAddr) -> Option<Visit> {
        let from = block(peer);
        let mut counts = self.counts();
        let count = counts.entry(from).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Visit {
            peers: self.clone(),
            from,
        })
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut counts = self.peers.counts();
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

fn block(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let mask = u128::MAX << (u128::BITS - PREFIX);
            IpAddr::V6((address.to_bits() & mask).into())
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_machine_does_not_take_the_places_of_others() {
        let peers = Peers::new(2);
        let enter = |peer: &str| peers.enter(peer.parse().expect("an address"));
        let (first, _second) = (enter("10.0.0.1"), enter("::ffff:10.0.0.1"));
        assert!(first.is_some() && enter("10.0.0.1").is_none());
        let (_third, _fourth) = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        drop(first);
        assert!(enter("10.0.0.1").is_some());
        assert_eq!(peers.counts().len(), 2);
    }
}
