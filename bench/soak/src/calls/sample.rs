use std::time::{Duration, Instant};

use http::Method;

use super::functions::Function;

/// A stretch of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) start: Instant,
    pub(super) end: Instant,
}

/// One call as its caller saw it.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) function: Function,
    pub(super) method: Method,
    /// When it was to be made, whatever happened before.
    pub(super) due: Instant,
    pub(super) first: Attempt,
    /// What became of it when it was sent once more, since its connection had broken.
    pub(super) again: Option<Attempt>,
}

/// A call that was sent.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    /// When its connection was opened; `None` when it never was.
    pub(super) opened: Option<Instant>,
    /// From the moment it was sent to its last byte, or to its end without one.
    pub(super) span: Span,
    pub(super) reply: Reply,
}

/// What came back.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Reply {
    /// The function's answer to this very call.
    Right {
        /// The revision that it names.
        revision: u32,
        /// Whether a replica had to be woken for it.
        woken: bool,
    },
    /// Another answer.
    Other {
        status: u16,
        /// `X-Hob-End`, empty when there was none.
        end: String,
        /// The beginning of the body.
        text: String,
    },
    /// No connection.
    Refused(String),
    /// The connection broke.
    Broken(String),
    /// Nothing, for longer than a caller waits.
    Late,
}

impl Span {
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

impl Sample {
    /// The attempt that counts.
    pub(super) fn last(&self) -> &Attempt {
        self.again.as_ref().unwrap_or(&self.first)
    }

    /// From when it was due to the end of its answer.
    pub(super) fn latency(&self) -> Duration {
        self.last().span.end.saturating_duration_since(self.due)
    }
}
