use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Which guard refused a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `auth`: nobody knows who calls, or the caller may not.
    Auth,
    /// `rate`: the caller calls too often.
    Rate,
    /// The server has as many calls under way as it may.
    Brake,
    /// It came by too many functions that call each other.
    Depth,
}

impl Refusal {
    /// Every guard.
    pub const ALL: [Self; 4] = [Self::Auth, Self::Rate, Self::Brake, Self::Depth];

    /// As metrics have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Rate => "rate",
            Self::Brake => "brake",
            Self::Depth => "depth",
        }
    }
}

/// Calls that guards have refused since hob started.
#[derive(Debug, Default)]
pub struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    /// Counts one more.
    pub fn count(&self, refusal: Refusal) {
        self.0[refusal as usize].fetch_add(1, Relaxed);
    }

    /// How many there were.
    pub fn of(&self, refusal: Refusal) -> u64 {
        self.0[refusal as usize].load(Relaxed)
    }
}
