use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a call, a run or a replica ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndReason {
    /// As it should.
    Ok,
    /// The program ended by itself or by a signal that hob did not send.
    Exit,
    /// It passed its deadline and was killed.
    Timeout,
    /// It passed its memory limit and the kernel killed it.
    Memory,
    /// It passed its limit of processes and could not go on.
    Pids,
    /// It wrote more than it may.
    Output,
    /// The caller or an operator gave up on it.
    Cancelled,
    /// It started and never accepted a connection in time.
    Unready,
    /// The machine or hob itself failed; the program is not at fault.
    Host,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Exit,
        Self::Timeout,
        Self::Memory,
        Self::Pids,
        Self::Output,
        Self::Cancelled,
        Self::Unready,
        Self::Host,
    ];

    /// The word in `X-Hob-End`, in logs and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exit => "exit",
            Self::Timeout => "timeout",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Output => "output",
            Self::Cancelled => "cancelled",
            Self::Unready => "unready",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A reason and one line for people: `exit` and "exit status 3", `memory` and "over 64Mi".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct End {
    /// The kind of end.
    pub reason: EndReason,
    /// One line, lower case, no full stop. Safe to show to any caller.
    pub message: String,
}

impl End {
    /// Puts a reason and its line together.
    pub fn new(reason: EndReason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}
