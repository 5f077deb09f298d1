use thiserror::Error;

use crate::exit::Exit;

/// Why a server did not do as it was asked.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// Nobody answers there.
    #[error("{0}")]
    Unreachable(String),
    /// The login is missing or wrong, or the socket is not for this user.
    #[error("{0}")]
    Denied(String),
    /// The login is right but may not do this.
    #[error("{0}")]
    NotAllowed(String),
    /// No function or secret of that name.
    #[error("{0}")]
    NotFound(String),
    /// The server understood and said no.
    #[error("{0}")]
    Refused(String),
    /// The connection broke, or what came over it is not what a hob says.
    #[error("the answer of {place} broke off: {problem}")]
    Broken {
        /// The server's address.
        place: String,
        /// What went wrong.
        problem: String,
    },
}

impl ClientError {
    /// The exit code that tells a script the same.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Unreachable(_) | Self::Broken { .. } => Exit::Unreachable,
            Self::Denied(_) | Self::NotAllowed(_) => Exit::Denied,
            Self::NotFound(_) => Exit::NotFound,
            Self::Refused(_) => Exit::Failed,
        }
    }
}
