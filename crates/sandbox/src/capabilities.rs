use std::path::PathBuf;

use hob_model::Isolation;
use serde::{Deserialize, Serialize};

use crate::Mechanism;

/// What this machine can do about cages, and why not more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// `uname -r`.
    pub kernel: String,
    /// hob's own cages at level `container`.
    pub container: Able,
    /// hob's own cages at level `process`.
    pub process: Able,
    /// Who enforces memory, cpu and pids limits.
    pub cgroup: CgroupSupport,
    /// Landlock's version here, 0 when the kernel has none.
    pub landlock_abi: i32,
    /// System call filters.
    pub seccomp: Able,
    /// Namespaces for users other than root; only needed when hob is not root.
    pub user_namespaces: Able,
    /// OCI runtime programs found on `PATH`.
    pub runtimes: Vec<Runtime>,
    /// What cannot be enforced although cages can be made, one line each.
    pub warnings: Vec<String>,
}

/// Whether something works here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "able", rename_all = "lowercase")]
pub enum Able {
    /// It does, as far as was tried.
    Yes,
    /// It does not.
    No {
        /// What is missing.
        why: String,
        /// What to install or set.
        cure: String,
    },
}

/// Who enforces memory, cpu and pids limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSupport {
    /// 1 or 2, the version in use; `None` when there is none that hob may write.
    pub version: Option<u8>,
    /// Of `memory`, `pids`, `cpu`, those that hob can use.
    pub controllers: Vec<String>,
    /// Folders that hold the cages' own folders.
    pub folders: Vec<PathBuf>,
    /// Whether all three controllers are there.
    pub able: Able,
}

/// An OCI runtime program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// `runsc`, `crun`, `runc`.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether it made a cage; found out only by [`crate::Sandbox::probe`], else `Yes`.
    pub able: Able,
}

// === impl Able ===

impl Able {
    /// Whether it works.
    pub fn is_able(&self) -> bool {
        matches!(self, Self::Yes)
    }

    pub(crate) fn no(why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::No {
            why: why.into(),
            cure: cure.into(),
        }
    }
}

// === impl Capabilities ===

impl Capabilities {
    /// The strongest level that hob's own helper can make here.
    pub fn strongest(&self) -> Option<Isolation> {
        let levels = [
            (Isolation::Container, &self.container),
            (Isolation::Process, &self.process),
        ];
        levels
            .into_iter()
            .find(|(_, able)| able.is_able())
            .map(|(level, _)| level)
    }

    /// Whether cages of this kind can be made here.
    pub fn able(&self, isolation: Isolation, mechanism: &Mechanism) -> Able {
        match (mechanism, isolation) {
            (Mechanism::Oci(program), _) => self.runtime(program),
            (Mechanism::Native, Isolation::Container) => self.container.clone(),
            (Mechanism::Native, Isolation::Process) => self.process.clone(),
        }
    }

    fn runtime(&self, program: &str) -> Able {
        let found = self.runtimes.iter().find(|runtime| runtime.name == program);
        match found {
            Some(runtime) => runtime.able.clone(),
            None if program.starts_with('/') => Able::Yes,
            None => Able::no(
                format!("`{program}` is not on PATH"),
                format!("install it (`apt-get install {program}`)"),
            ),
        }
    }
}
