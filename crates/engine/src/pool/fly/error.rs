//! What can go wrong between the pool and Fly.

use std::{fmt, path::PathBuf, time::Duration};

use thiserror::Error;

/// Why a pool cannot be opened.
#[derive(Debug, Error)]
pub enum FlyError {
    /// A pool cannot be called so.
    #[error(
        "`{0}` cannot be a pool's name: use up to 32 lower-case letters, digits and `-`, with no `-` at its ends"
    )]
    PoolName(String),
    /// What should be a token cannot be one.
    #[error(
        "the token of Fly is empty or has bytes that no token has: make one with `fly tokens create deploy`"
    )]
    Token,
    /// The file with the token.
    #[error("the token of Fly in {path}: {problem}")]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What is the matter with it.
        problem: String,
    },
    /// The API's address, or the workers'.
    #[error("`{0}` is no address: write http://HOST:PORT or https://HOST")]
    Address(String),
    /// Whoever is on the way could read the token.
    #[error(
        "`{0}` would have the token sent in the clear: write https://HOST, or a host of Fly's private network (`.internal`, `.flycast`) or of this machine"
    )]
    InTheClear(String),
    /// Leases that end before a run does.
    #[error(
        "a lease of {lease:?} is too short: a machine is started, used and stopped under it, which takes up to {least:?}"
    )]
    Lease {
        /// As it was asked for.
        lease: Duration,
        /// The least.
        least: Duration,
    },
    /// Nothing to ask with.
    #[error("the client of Fly's API: {0}")]
    Client(String),
    /// The list of the pool's machines.
    #[error("{path}, where the pool's machines are written down: {problem}")]
    Roster {
        /// Its file.
        path: PathBuf,
        /// What is the matter with it.
        problem: String,
    },
}

/// What the API was asked for and did not do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiError {
    /// What was asked for: `start machine 1234`.
    pub(super) step: String,
    pub(super) problem: Problem,
}

/// Why it did not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// There was no connection, so nothing was asked.
    Unreachable(String),
    /// It was asked and did not answer in time, or the connection broke: whether it was done is
    /// unknown.
    Unanswered(String),
    /// It answered what cannot be understood. Whether it was done is unknown.
    Garbled(String),
    /// So many machines wait to be destroyed that no other is asked for.
    Debt(usize),
    /// The pool is closed meanwhile.
    Closed,
    /// It answered that it did not.
    Refused {
        /// HTTP's status.
        status: u16,
        /// What the API says about it, shortened.
        message: String,
    },
}

// === impl ApiError ===

impl ApiError {
    /// The status of an answer that refuses.
    pub(super) fn status(&self) -> Option<u16> {
        match self.problem {
            Problem::Refused { status, .. } => Some(status),
            _ => None,
        }
    }

    /// There is no such machine.
    pub(super) fn is_gone(&self) -> bool {
        self.status() == Some(404)
    }

    /// Somebody else holds the machine's lease, or it is not as it would have to be.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self.status(), Some(409 | 412))
    }

    /// Whether what was asked for may have been done nevertheless.
    pub(super) fn is_unsure(&self) -> bool {
        match self.problem {
            Problem::Unreachable(_) | Problem::Debt(_) | Problem::Closed => false,
            Problem::Unanswered(_) | Problem::Garbled(_) => true,
            Problem::Refused { status, .. } => status >= 500 || status == 408,
        }
    }

    /// One line for whoever wanted something run: no more than who is at fault.
    pub(super) fn for_callers(&self) -> String {
        let why = match &self.problem {
            Problem::Unreachable(_) => "it cannot be reached".into(),
            Problem::Unanswered(_) => "it does not answer".into(),
            Problem::Garbled(_) => "its answer makes no sense".into(),
            Problem::Debt(count) => format!("{count} others are to be destroyed first"),
            Problem::Closed => "the pool is closed".into(),
            Problem::Refused { status, .. } => match status {
                401 | 403 => format!("it does not accept the token ({status})"),
                404 => "it knows no such app or machine (404)".into(),
                408 => "it took too long (408)".into(),
                429 => "it is asked too often (429)".into(),
                status => format!("it answered {status}"),
            },
        };
        format!("no machine could be had from Fly: {why}")
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}: ", self.step)?;
        match &self.problem {
            Problem::Unreachable(why) => write!(f, "Fly's API cannot be reached: {why}"),
            Problem::Unanswered(why) => write!(f, "Fly's API does not answer: {why}"),
            Problem::Garbled(why) => write!(f, "Fly's API answers nonsense: {why}"),
            Problem::Debt(count) => write!(f, "{count} machines wait to be destroyed first"),
            Problem::Closed => write!(f, "the pool is closed"),
            Problem::Refused { status, message } => {
                write!(f, "Fly's API answers {status} {message}")
            }
        }
    }
}
