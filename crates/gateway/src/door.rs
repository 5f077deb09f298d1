//! Who gets a connection at all.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicUsize},
};

use hob_model::{AddressRange, Bans, TurnedAway};
use tokio::sync::OwnedSemaphorePermit;

use crate::listen::{Peer, PeerKind};

/// The one who decides, for all threads.
pub(crate) struct Door {
    pub(crate) bans: Arc<Bans>,
    /// Most connections of one caller.
    most: usize,
    /// How many each has. As many callers at most as there may be connections.
    callers: Mutex<HashMap<AddressRange, usize>>,
    /// Answers that wait before they go out.
    pub(crate) waiting: AtomicUsize,
}

/// A connection's place among all, and among those of its caller.
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
    caller: Option<(Arc<Door>, AddressRange)>,
}

impl Door {
    pub(crate) fn new(bans: Arc<Bans>, most: usize) -> Self {
        Self {
            bans,
            most,
            callers: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether this is one that the door looks at: neither this machine itself nor a proxy that
    /// speaks for others.
    pub(crate) fn minds(&self, kind: PeerKind, address: IpAddr) -> bool {
        kind == PeerKind::Stranger && self.bans.exempt(address).is_none()
    }

    /// `None` when the connection is to be closed at once.
    pub(crate) fn let_in(
        self: &Arc<Self>,
        peer: &Peer,
        permit: OwnedSemaphorePermit,
    ) -> Option<Place> {
        let address = peer.address.ip();
        let mut place = Place {
            _permit: permit,
            caller: None,
        };
        if !self.minds(peer.kind, address) {
            return Some(place);
        }
        // Before a byte is read, and before any handshake.
        if self.bans.shuts_out(address) {
            self.bans.refuse(TurnedAway::Banned);
            return None;
        }
        let caller = AddressRange::of_caller(address);
        let mut callers = self.callers();
        let connections = callers.entry(caller).or_default();
        if *connections >= self.most {
            self.bans.refuse(TurnedAway::Crowd);
            return None;
        }
        *connections += 1;
        place.caller = Some((Arc::clone(self), caller));
        Some(place)
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<AddressRange, usize>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some((door, caller)) = &self.caller else {
            return;
        };
        let mut callers = door.callers();
        if let Some(connections) = callers.get_mut(caller) {
            *connections -= 1;
            if *connections == 0 {
                callers.remove(caller);
            }
        }
    }
}
