use crate::EndReason;

/// How many runs ended how, since the pool is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunCounts([u64; EndReason::ALL.len()]);

impl RunCounts {
    /// Runs that ended for `reason`.
    pub fn get(&self, reason: EndReason) -> u64 {
        self.0[reason as usize]
    }

    /// Says how many ended for `reason`.
    pub fn set(&mut self, reason: EndReason, count: u64) {
        self.0[reason as usize] = count;
    }
}
