use std::{io, path::PathBuf};

use hob_model::Isolation;
use thiserror::Error;

/// Why there is no cage, or no answer about one. One line each, with the cure where there is one.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The caller's spec cannot be carried out.
    #[error("cage spec: {0}")]
    Spec(String),
    /// The program could not be started inside; the caller's fault.
    #[error("exec `{program}`: {problem}")]
    Exec {
        /// First word of `argv`.
        program: String,
        /// What the kernel said and what to do.
        problem: String,
    },
    /// A step of building the cage failed inside the helper.
    #[error("cage `{id}`: {step}: {problem}")]
    Step {
        /// Which cage.
        id: String,
        /// What was being done, with its object.
        step: String,
        /// What the kernel said.
        problem: String,
    },
    /// This machine cannot make such a cage. It is never made weaker in silence.
    #[error("isolation `{isolation}` is not possible here: {why}; {cure}")]
    Unable {
        /// What was asked.
        isolation: Isolation,
        /// What is missing.
        why: String,
        /// What to install or set.
        cure: String,
    },
    /// This machine cannot make a sandbox of such a level.
    #[error("{why}; {cure}")]
    UnableLevel {
        /// What is missing, and for which level.
        why: String,
        /// What to install or set.
        cure: String,
    },
    /// Functions cannot have networks of their own here.
    #[error("network: {0}")]
    Network(String),
    /// An OCI runtime program refused.
    #[error("{program}: {problem}")]
    Runtime {
        /// Which program.
        program: String,
        /// Its own words, and the cure where it is known.
        problem: String,
    },
    /// The helper did not answer in time, or died.
    #[error("cage `{id}`: the helper {problem}")]
    Helper {
        /// Which cage.
        id: String,
        /// What it did in place of its work.
        problem: String,
    },
    /// A file or folder of hob's own could not be used.
    #[error("{what} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "cannot create".
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A system call on something without a path failed.
    #[error("{what}: {source}")]
    System {
        /// What was tried: "cannot wait for the cage".
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl SandboxError {
    /// Whether the one who wrote the function can mend it, rather than the owner of the machine.
    pub fn is_callers_fault(&self) -> bool {
        matches!(self, Self::Spec(_) | Self::Exec { .. })
    }

    pub(crate) fn io(
        what: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System {
            what,
            source: source.into(),
        }
    }
}
