use std::{fs::File, path::PathBuf};

use hob_model::Isolation;
use serde::{Deserialize, Serialize};

/// Who builds the cage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mechanism {
    /// hob's own helper.
    Native,
    /// An OCI runtime program: `runsc`, `crun`, `runc`, or a path to one.
    Oci(String),
}

/// One cage to be: what runs in it, what it sees and what it may use.
#[derive(Debug)]
pub struct CageSpec {
    /// Unique among the living; 1 to 100 of `a-z`, `0-9` and `-`, not starting with `-`.
    /// Names the cage's cgroup folder.
    pub id: String,
    /// How strong the cage is.
    pub isolation: Isolation,
    /// Who builds it.
    pub mechanism: Mechanism,
    /// Program and arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, String)>,
    /// Working directory, as seen from inside.
    pub cwd: PathBuf,
    /// The machine's name as the program sees it; up to 64 bytes. Ignored at level `process`.
    pub hostname: String,
    /// Files and folders on top of the standard root, mounted in this order.
    pub binds: Vec<Bind>,
    /// What all processes of the cage may use together.
    pub limits: CageLimits,
    /// Where the program's stdout and stderr go; open it for appending.
    pub output: File,
    /// As whom the program runs.
    pub user: CageUser,
}

/// A file or folder of the host inside the cage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// On the host; symlinks are followed.
    pub source: PathBuf,
    /// Inside the cage, absolute; made when it is not there. Ignored at level `process`, where
    /// the program sees `source` under its own path.
    pub target: PathBuf,
    /// What the program may do with it. File permissions apply as well: the cage's user is not root.
    pub access: Access,
}

/// What a program may do with a bind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Read and execute.
    ReadOnly,
    /// Also create, write and delete.
    ReadWrite,
}

/// What all processes of one cage may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CageLimits {
    /// Resident memory, page cache and tmpfs together, in bytes; swap is not given.
    pub memory: u64,
    /// Thousandths of a core; 1,000 is one core. At least 1.
    pub cpu_millis: u32,
    /// Processes and threads of the program; the cage's init comes on top.
    pub pids: u32,
    /// Size of the private `/tmp`, in bytes. Ignored at level `process`, which has none.
    pub tmp: u64,
    /// Open file descriptors per process.
    pub files: u32,
}

/// As whom a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CageUser {
    /// uid and gid [`CAGE_UID`] when hob is root. Else hob's own user, which the cage sees as
    /// [`CAGE_UID`] at level `container`.
    Unprivileged,
}

/// The uid and gid of every program in a cage that root made.
pub const CAGE_UID: u32 = 12_000;

const MAX_ID: usize = 100;
const MAX_HOSTNAME: usize = 64;

// === impl CageSpec ===

impl CageSpec {
    /// What is wrong with the spec, if anything; one line that names the field.
    pub(crate) fn check(&self) -> Result<(), String> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.id.is_empty()
            || self.id.len() > MAX_ID
            || self.id.starts_with('-')
            || !self.id.chars().all(good)
        {
            return Err(format!(
                "id `{}` must be 1 to {MAX_ID} of a-z, 0-9 and -",
                self.id
            ));
        }
        if self.argv.first().is_none_or(String::is_empty) {
            return Err("argv is empty: name a program".into());
        }
        if self.hostname.len() > MAX_HOSTNAME {
            return Err(format!("hostname is longer than {MAX_HOSTNAME} bytes"));
        }
        if self
            .env
            .iter()
            .any(|(name, _)| name.is_empty() || name.contains('='))
        {
            return Err("env has a name that is empty or holds `=`".into());
        }
        let values = self.env.iter().flat_map(|(name, value)| [name, value]);
        if self
            .argv
            .iter()
            .chain(values)
            .any(|text| text.contains('\0'))
        {
            return Err("argv or env holds a NUL byte".into());
        }
        if !self.cwd.is_absolute() {
            return Err(format!("cwd `{}` is not absolute", self.cwd.display()));
        }
        let plain = |bind: &&Bind| {
            bind.target.is_absolute()
                && !bind
                    .target
                    .components()
                    .any(|part| part.as_os_str() == "..")
        };
        match self.binds.iter().find(|bind| !plain(bind)) {
            Some(bind) => Err(format!(
                "bind target `{}` must be absolute and without `..`",
                bind.target.display()
            )),
            None => Ok(()),
        }
    }
}
