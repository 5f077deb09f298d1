//! The ports through which the planes meet. Each has one or few implementations, chosen where
//! the binary is put together.

mod keyring;
mod sandboxes;

use std::{
    collections::BTreeSet,
    io,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use futures_core::Stream;
use thiserror::Error;

pub use keyring::{Keyring, KeyringError, PemPair, Presented};
pub use sandboxes::{PoolStanding, RunError, RunStream, Sandboxes, StartedRun};

use crate::{
    End, EndReason, FleetName, Function, FunctionName, ReplicaId, Revision, SecretName,
    wire::{FunctionState, Instance, LogLine},
};

/// Where replicas run.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Makes the engine run `function` as described; calling it twice changes nothing.
    ///
    /// With a changed revision, a new replica is ready before calls go to it, and the old ones
    /// are drained after. On error the former revision still answers, if there was one. With
    /// `replicas` 0 it starts nothing: the function has its route and wakes by its first call.
    /// All that goes for its canary too; a former canary that is none any more is drained, or
    /// goes on in place of the others if it is what the function is to run.
    async fn apply(&self, function: &Function) -> Result<(), EngineError>;

    /// Runs so many replicas and returns when they are ready or gone, and what that took. Frozen
    /// ones go on before others are started. Zero is legal and keeps the route. Concurrent callers
    /// that ask for the same share one start.
    async fn scale(&self, fleet: &FleetName, replicas: u32) -> Result<Effort, EngineError>;

    /// Has all of its replicas stand still until [`Engine::scale`] asks for some. False,
    /// and all is as before, when one of them has a call, or none can be frozen here.
    async fn freeze(&self, fleet: &FleetName) -> Result<bool, EngineError>;

    /// Asks one that is awake for so many replicas, at least one, and returns without waiting
    /// for them. Whoever asks for another number afterwards has it; one that sleeps, sleeps on.
    /// After a start that failed, the next one waits longer and longer.
    async fn adjust(&self, fleet: &FleetName, replicas: u32) -> Result<(), EngineError>;

    /// Stops every replica, the canary's too, and takes the route out. The name is free on return.
    async fn remove(&self, name: &FunctionName) -> Result<(), EngineError>;

    /// What really runs now, function by function.
    async fn observe(&self) -> Result<Vec<Observed>, EngineError>;

    /// The lines that the replicas of a function wrote, also those that are gone, in the order of
    /// their times. A stream that follows ends when the function is removed.
    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<LogStream, EngineError>;

    /// Takes a replica out of service at once: no new calls, killed when its other calls are
    /// done or their time is up. Returns without waiting for that.
    async fn condemn(&self, name: &FunctionName, replica: &ReplicaId, why: EndReason);

    /// A secret has a new value: replicas that may read it see it within 5 s.
    async fn refresh_secret(&self, namespace: &str, secret: &SecretName)
    -> Result<(), EngineError>;
}

/// What it took to get to a number of replicas, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effort {
    /// None was missing.
    None,
    /// Frozen ones went on.
    Thawed,
    /// At least one was started.
    Started,
}

/// One function as an engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Which.
    pub function: FunctionName,
    /// Where it stands.
    pub state: FunctionState,
    /// Its replicas, those of its canary too.
    pub instances: Vec<Instance>,
    /// How its last replica that did not end well ended.
    pub last_end: Option<End>,
    /// The same of its canary.
    pub canary: Option<ObservedCanary>,
}

/// A canary as an engine sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedCanary {
    /// Where it stands.
    pub state: FunctionState,
    /// How its last replica that did not end well ended.
    pub last_end: Option<End>,
}

/// Which lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Only so many of the last lines; `None` means all that are kept.
    pub tail: Option<usize>,
    /// Only lines of this time and later.
    pub since: Option<SystemTime>,
    /// Only lines of this replica.
    pub instance: Option<ReplicaId>,
    /// Go on with new lines, also those of replicas that start later.
    pub follow: bool,
}

/// Lines of a log as they come. Dropping it ends the reading.
pub type LogStream = Pin<Box<dyn Stream<Item = Result<LogLine, EngineError>> + Send>>;

/// Why an engine could not do as it was told. Cheap enough to clone: every caller that waits
/// for one start gets it.
#[derive(Debug, Clone, Error)]
pub enum EngineError {
    /// No such function here.
    #[error("function `{0}` does not exist")]
    NotFound(FunctionName),
    /// No log of such a replica is kept.
    #[error(
        "function `{function}` has no log of an instance `{instance}`: leave it out to see all"
    )]
    NoInstance {
        /// Of which function.
        function: FunctionName,
        /// Which replica was asked for.
        instance: ReplicaId,
    },
    /// The program ended or did not listen in time. The caller's to mend.
    #[error("{message}")]
    Start {
        /// How the attempt ended.
        reason: EndReason,
        /// One line with the cause and the cure.
        message: String,
        /// The last lines that the program wrote.
        log_tail: Vec<String>,
    },
    /// The settings ask for what this machine cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// The machine failed.
    #[error("{0}")]
    Host(String),
}

impl EngineError {
    /// The end reason that a waiting call gets.
    pub fn reason(&self) -> EndReason {
        match self {
            Self::Start { reason, .. } => *reason,
            Self::NotFound(_) | Self::NoInstance { .. } | Self::Unsupported(_) | Self::Host(_) => {
                EndReason::Host
            }
        }
    }
}

/// Brings a sleeping function back: how the gateway asks the control plane.
#[async_trait]
pub trait Wake: Send + Sync {
    /// Returns when a replica is ready. All calls that wait share one start. Where the canary that
    /// is meant has ended meanwhile, this is one of the function's others.
    async fn wake(&self, fleet: &FleetName) -> Result<(), WakeError>;

    /// Reports a replica that did to a call what it may not: `why` is how the call ended,
    /// [`EndReason::Timeout`] or [`EndReason::Output`]. Never blocks.
    fn condemn(&self, function: &FunctionName, replica: &ReplicaId, why: EndReason);
}

/// Why a function could not be woken. Cheap to clone: every waiting call gets one.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct WakeError {
    /// Goes to `X-Hob-End`.
    pub reason: EndReason,
    /// One line, safe to show to any caller.
    pub message: Arc<str>,
}

/// Calls functions from inside this process, for calls that were taken earlier.
pub trait Dial: Send + Sync {
    /// A connection that speaks HTTP/1.1 to the data plane: `POST /function/NAME.NAMESPACE` and so
    /// on, with the caller's fields as they came. The socket does not block.
    ///
    /// # Errors
    /// When the machine is out of sockets, or the data plane has ended.
    fn dial(&self) -> io::Result<UnixStream>;
}

/// Turns a folder into a revision.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Unpacks, builds and stores a bundle. Equal input gives an equal digest, and nothing new
    /// on disk. Whatever is refused or fails leaves nothing behind.
    async fn build(&self, source: Source, log: BuildLog) -> Result<Revision, BuildError>;

    /// The build whose bundle's name begins with `start`, as it came out; `None` when there is
    /// none.
    async fn bundle(&self, start: &str) -> Result<Option<Revision>, BuildError>;

    /// Takes away every bundle but those that are `kept`, and what is written down of their builds;
    /// returns how many. They are out of the way on return, and their disk is free soon after.
    /// Nobody may build meanwhile, nor start what is not `kept`.
    async fn collect(&self, kept: BTreeSet<String>) -> Result<usize, BuildError>;

    /// Writes `function` to the empty folder `target` so that it runs without hob.
    async fn export(&self, function: &Function, target: &Path) -> Result<(), BuildError>;
}

/// What to build.
#[derive(Debug, Clone)]
pub struct Source {
    /// For whom; the settings come from the `hob.toml` inside.
    pub function: FunctionName,
    /// A tar with the folder's content, sent by somebody.
    pub archive: PathBuf,
    /// How the folder lies in it.
    pub packing: Packing,
}

/// How a folder lies in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A gzip-compressed tar of its content.
    Folder,
    /// A plain tar with its content in `context/`, and beside that only the files which
    /// [`crate::openfaas`] names.
    Context,
}

/// Takes the lines of a build as they come.
pub type BuildLog = Arc<dyn Fn(BuildLine) + Send + Sync>;

/// One line of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildLine {
    /// hob begins a step: "python: installing requirements.txt".
    Step(String),
    /// A tool wrote this line.
    Output(String),
}

/// Why there is no revision.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The archive or folder is refused; the message names the entry and the rule.
    #[error("{0}")]
    Refused(String),
    /// A tool of the build failed; its own words went to the log.
    #[error("{0}")]
    Failed(String),
    /// A toolchain or template is missing; the message says what to install.
    #[error("{0}")]
    Missing(String),
    /// The machine failed.
    #[error("{0}")]
    Host(String),
}

/// Reads secrets for the functions that may.
pub trait Secrets: Send + Sync {
    /// The exact bytes of a secret.
    ///
    /// # Errors
    /// One line that names the secret, never its value.
    fn reveal(&self, namespace: &str, name: &SecretName) -> Result<SecretBytes, SecretError>;
}

/// Why a secret cannot be read.
#[derive(Debug, Clone, Error)]
pub enum SecretError {
    /// There is none of that name.
    #[error(
        "secret `{name}` does not exist in namespace `{namespace}`: set it with `hob secret set {name}`"
    )]
    NotFound {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: SecretName,
    },
    /// It is there and cannot be opened.
    #[error("secret `{name}` cannot be read: {problem}")]
    Unreadable {
        /// Its name.
        name: SecretName,
        /// What is wrong with the file or the identity.
        problem: String,
    },
}

/// A secret's value: wiped from memory on drop, and hidden from `Debug`.
pub struct SecretBytes(zeroize::Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes over the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(zeroize::Zeroizing::new(bytes))
    }

    /// The exact bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}
