use std::time::Duration;

use crate::{End, EndReason};

/// What a run has to say, in its order. [`RunEvent::End`] is the last, and comes only when nothing
/// that the run started is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// Bytes of its standard output, never empty.
    Stdout(Vec<u8>),
    /// Bytes of its standard error, never empty.
    Stderr(Vec<u8>),
    /// It is over.
    End(RunEnd),
}

/// How a run ended and what it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The program's exit status; −1 when a signal ended it, whoever sent it.
    pub code: i32,
    /// That signal.
    pub signal: Option<i32>,
    /// Why, and one line for people.
    pub end: End,
    /// Whether it was killed since its time limit had passed; a [`Timeout`](crate::EndReason) by
    /// processor time is none.
    pub by_deadline: bool,
    /// How long it took.
    pub times: RunTimes,
    /// Processor time of all its processes; `None` where nobody counts.
    pub cpu: Option<Duration>,
    /// The most memory that it had at once, in bytes; `None` where nobody counts.
    pub memory: Option<u64>,
}

// === impl RunEnd ===

impl RunEnd {
    /// Of a run whose program did not end by itself, or of which nobody knows how it did. Its
    /// timeout is that of the deadline.
    pub fn without_program(end: End, times: RunTimes) -> Self {
        Self {
            code: -1,
            signal: None,
            by_deadline: end.reason == EndReason::Timeout,
            end,
            times,
            cpu: None,
            memory: None,
        }
    }
}

/// How long the parts of a run took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RunTimes {
    /// In line for a sandbox.
    pub queue: Duration,
    /// From the lease until the program ran.
    pub start: Duration,
    /// From there until all of it was dead.
    pub run: Duration,
}
