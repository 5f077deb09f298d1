use std::{
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
    time::SystemTime,
};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{AddressRange, rfc3339};

/// Most bans that conduct leads to at a time.
pub(super) const AUTOMATIC_MAX: usize = 50_000;
/// Most bans of the owner's own.
const BY_HAND_MAX: usize = 10_000;

/// Somebody is shut out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Ban {
    /// Whom: an address or a range of them.
    #[schema(value_type = String, example = "203.0.113.9")]
    pub address: AddressRange,
    /// Since when.
    #[serde(with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub since: SystemTime,
    /// Until when; `None` means until somebody lifts it.
    #[serde(default, with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<SystemTime>,
    /// Why, on one line.
    pub reason: String,
    /// Who says so.
    pub origin: BanOrigin,
    /// How many bans of this address have followed each other, this one included.
    pub times: u32,
}

/// Who has banned somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BanOrigin {
    /// The owner.
    Hand,
    /// hob, for what the address did.
    Conduct,
}

/// Why somebody cannot be banned.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BanError {
    /// He must not be.
    #[error("{address} cannot be banned: {why}{}", within(address, range))]
    Exempt {
        /// Who was to be.
        address: AddressRange,
        /// Who is exempt.
        range: AddressRange,
        /// Why.
        why: &'static str,
    },
    /// There is no room.
    #[error("there are {0} bans already: remove some, or write a rule for the machine's firewall")]
    Full(usize),
}

fn within(address: &AddressRange, range: &AddressRange) -> String {
    match address == range {
        true => String::new(),
        false => format!(" ({range})"),
    }
}

/// Who is shut out.
#[derive(Debug, Default)]
pub(super) struct Book {
    bans: HashMap<AddressRange, Ban>,
    /// How many bans are as wide as this, IPv4 and IPv6 together: an address is looked up once for
    /// each width.
    widths: BTreeMap<u8, usize>,
    by_hand: usize,
    /// Those that nobody has been told of yet.
    new: HashSet<AddressRange>,
}

impl Ban {
    /// One of the owner's own.
    pub fn by_hand(address: AddressRange, until: Option<SystemTime>, reason: String) -> Self {
        Self {
            address,
            since: SystemTime::now(),
            until,
            reason,
            origin: BanOrigin::Hand,
            times: 1,
        }
    }

    fn is_over(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

// === impl Book ===

impl Book {
    pub(super) fn len(&self) -> usize {
        self.bans.len()
    }

    pub(super) fn find(&self, address: IpAddr, now: SystemTime) -> Option<&Ban> {
        let mut found = self.widths.keys().filter_map(|bits| {
            let range = AddressRange::new(address, *bits);
            self.bans.get(&range).filter(|ban| !ban.is_over(now))
        });
        found.next()
    }

    /// Takes the place of a ban of the same addresses, unless that is the owner's and this is not.
    pub(super) fn add(&mut self, ban: Ban, now: SystemTime) -> Result<(), BanError> {
        let known = self.bans.get(&ban.address);
        let known = known.filter(|known| !known.is_over(now));
        let owners = known.is_some_and(|known| known.origin == BanOrigin::Hand);
        if owners && ban.origin == BanOrigin::Conduct {
            return Ok(());
        }
        self.remove(&ban.address);
        let (taken, room) = match ban.origin {
            BanOrigin::Hand => (self.by_hand, BY_HAND_MAX),
            BanOrigin::Conduct => (self.bans.len() - self.by_hand, AUTOMATIC_MAX),
        };
        if taken >= room {
            return Err(BanError::Full(room));
        }
        *self.widths.entry(ban.address.bits()).or_default() += 1;
        self.by_hand += usize::from(ban.origin == BanOrigin::Hand);
        self.new.insert(ban.address);
        self.bans.insert(ban.address, ban);
        Ok(())
    }

    pub(super) fn remove(&mut self, range: &AddressRange) -> bool {
        let Some(ban) = self.bans.remove(range) else {
            return false;
        };
        self.new.remove(range);
        self.by_hand -= usize::from(ban.origin == BanOrigin::Hand);
        if let Some(count) = self.widths.get_mut(&range.bits()) {
            *count -= 1;
            if *count == 0 {
                self.widths.remove(&range.bits());
            }
        }
        true
    }

    pub(super) fn list(&self, now: SystemTime) -> Vec<Ban> {
        let live = self.bans.values().filter(|ban| !ban.is_over(now));
        let mut live: Vec<_> = live.cloned().collect();
        live.sort_unstable_by_key(|ban| ban.address);
        live
    }

    pub(super) fn sweep(&mut self, now: SystemTime) {
        let over = self.bans.values().filter(|ban| ban.is_over(now));
        let over: Vec<_> = over.map(|ban| ban.address).collect();
        for range in over {
            self.remove(&range);
        }
    }

    pub(super) fn take_new(&mut self) -> Vec<Ban> {
        let new = std::mem::take(&mut self.new);
        let new = new.into_iter();
        new.filter_map(|range| self.bans.get(&range).cloned())
            .collect()
    }
}
