use hob_image::{ImageError, ImageFault};
use hob_model::{
    Domain, FunctionName, SecretName,
    port::{BuildError, EngineError},
    wire::Fault,
};
use hob_store::StoreError;
use thiserror::Error;

use crate::{schedule::ScheduleError, translate::AskedError};

/// Why a deploy came to nothing. What ran before still runs.
#[derive(Debug, Error)]
pub(crate) enum DeployError {
    #[error("function `{0}` already exists")]
    Exists(FunctionName),
    #[error("function `{0}` does not exist")]
    Missing(FunctionName),
    #[error(transparent)]
    Asked(#[from] AskedError),
    #[error("secret `{secret}` does not exist in namespace `{namespace}`: create it first")]
    NoSecret {
        secret: SecretName,
        namespace: String,
    },
    #[error(
        "there is neither an image of this name nor bundle `{0}` on this machine: `hob deploy` the folder again"
    )]
    NoBundle(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(
        "function `{function}` has no revision {number}: `hob revisions {function}` shows those that are kept"
    )]
    NoRevision { function: FunctionName, number: u32 },
    #[error(
        "function `{0}` has no earlier revision to go back to: `hob revisions {0}` shows those that are kept"
    )]
    NoEarlier(FunctionName),
    #[error("function `{0}` does not exist yet: deploy it without --canary first")]
    NothingBeside(FunctionName),
    #[error(
        "function `{0}` runs this already, so there is nothing to try: change it, or deploy it without --canary"
    )]
    NoDifference(FunctionName),
    #[error(
        "function `{0}` cannot have a canary: of a folder of files each page would be made of two revisions; deploy it without --canary"
    )]
    FilesBeside(FunctionName),
    #[error("function `{0}` has no canary: `hob deploy DIR --canary 10%` makes one")]
    NoCanary(FunctionName),
    #[error(
        "domain `{domain}` is function `{function}`'s: take it out of the hob.toml of one of the two, or remove `{function}`"
    )]
    DomainTaken {
        domain: Domain,
        function: FunctionName,
    },
    #[error(
        "`{0}` is this server's own name, or one that functions know it by: no function can have it; choose another host"
    )]
    OwnHost(String),
    #[error("namespace `{0}` is reserved and can have no functions")]
    Reserved(String),
    #[error("function `{0}` or its namespace was removed meanwhile")]
    Removed(FunctionName),
}

impl DeployError {
    /// Who has to mend it.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Exists(_)
            | Self::Missing(_)
            | Self::Asked(_)
            | Self::NoSecret { .. }
            | Self::NoBundle(_)
            | Self::NoRevision { .. }
            | Self::NoEarlier(_)
            | Self::NothingBeside(_)
            | Self::NoDifference(_)
            | Self::FilesBeside(_)
            | Self::NoCanary(_)
            | Self::DomainTaken { .. }
            | Self::OwnHost(_)
            | Self::Reserved(_)
            | Self::Removed(_) => Fault::Caller,
            Self::Build(BuildError::Refused(_) | BuildError::Failed(_)) => Fault::Caller,
            Self::Build(BuildError::Missing(_) | BuildError::Host(_)) => Fault::Host,
            Self::Engine(EngineError::Start { .. } | EngineError::Unsupported(_)) => Fault::Caller,
            Self::Engine(
                EngineError::NotFound(_) | EngineError::NoInstance { .. } | EngineError::Host(_),
            ) => Fault::Host,
            Self::Image(error) if error.fault() == ImageFault::Caller => Fault::Caller,
            Self::Image(_) => Fault::Host,
            Self::Schedule(error) => error.fault(),
            Self::Store(_) => Fault::Host,
        }
    }
}
