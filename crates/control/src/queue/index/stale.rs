//! What ended, as long as it is kept: results, and dead letters.

use hob_store::CallRow;

use super::{Due, Index};
use crate::queue::limits::{RESULTS_KEPT, Used};

/// What is kept no longer, and is to go from the disk.
#[derive(Debug, Default)]
pub(in crate::queue) struct Stale {
    results: Vec<(i64, u64, u64)>,
    dead: Vec<CallRow>,
}

// === impl Index ===

impl Index {
    /// What is kept no longer: results by their age, number and size, and the oldest dead letters
    /// beyond their part. They are forgotten here.
    pub(in crate::queue) fn stale(&mut self, now: u64, most_bytes: u64, most_dead: Used) -> Stale {
        let mut stale = Stale::default();
        while let Some((seq, until, bytes)) = self.results.front().copied() {
            let kept = self.results.len() <= RESULTS_KEPT
                && self.result_bytes <= most_bytes
                && now <= until;
            if kept {
                break;
            }
            self.results.pop_front();
            self.result_bytes = self.result_bytes.saturating_sub(bytes);
            stale.results.push((seq, until, bytes));
        }
        let is_over = |dead: &Used| {
            dead.calls > 1 && (dead.calls > most_dead.calls || dead.bytes > most_dead.bytes)
        };
        while is_over(&self.dead_used)
            && let Some(oldest) = self.dead.first_key_value().map(|(key, _)| *key)
        {
            stale.dead.extend(self.bury(oldest));
        }
        stale
    }

    /// Takes back what could not be removed from the disk.
    pub(in crate::queue) fn keep_stale(&mut self, stale: Stale) {
        for result in stale.results.into_iter().rev() {
            self.result_bytes += result.2;
            self.results.push_front(result);
        }
        for row in &stale.dead {
            self.add(row, Due::At(0));
        }
    }

    pub(super) fn keep(&mut self, row: &CallRow, until: u64) {
        self.results.push_back((row.seq, until, row.bytes));
        self.result_bytes += row.bytes;
    }

    /// Forgets a dead letter, if it is there.
    pub(super) fn bury(&mut self, key: (i64, i64)) -> Option<CallRow> {
        let row = self.dead.remove(&key)?;
        self.dead_used.remove(row.bytes);
        self.release(&row.function, row.bytes);
        let tally = self.tally(&row.function);
        tally.dead = tally.dead.saturating_sub(1);
        Some(row)
    }
}

// === impl Stale ===

impl Stale {
    /// The numbers of these calls.
    pub(in crate::queue) fn seqs(&self) -> Vec<i64> {
        let results = self.results.iter().map(|(seq, ..)| *seq);
        results.chain(self.dead.iter().map(|row| row.seq)).collect()
    }

    pub(in crate::queue) fn is_empty(&self) -> bool {
        self.results.is_empty() && self.dead.is_empty()
    }

    /// Dead letters among them.
    pub(in crate::queue) fn dead(&self) -> &[CallRow] {
        &self.dead
    }
}
