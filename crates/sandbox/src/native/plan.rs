use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::Bind;

/// Everything the helper has to know. It decides nothing itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
    /// `NAME=value` each.
    pub(crate) env: Vec<String>,
    /// Working directory, as seen from inside.
    pub(crate) cwd: PathBuf,
    /// How the cage is built.
    pub(crate) level: Level,
    /// The network namespace to enter; `None` stays in hob's.
    pub(crate) network: Option<PathBuf>,
    /// Own user namespace, for want of root's rights.
    pub(crate) user_namespace: Option<UserNamespace>,
    /// Whom to become; `None` keeps what the helper is.
    pub(crate) user: Option<User>,
    /// What the program is sent when the first process is sent SIGTERM.
    pub(crate) stop_signal: i32,
    /// Resource limits of each process.
    pub(crate) rlimits: Rlimits,
    /// Folder of the cage's cgroup v2, to be born in. Version 1 was joined by the waiting helper.
    pub(crate) cgroup: Option<PathBuf>,
}

/// How the cage is built.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Level {
    /// Own namespaces and root.
    Container(Root),
    /// The host's root, of which landlock shows only this.
    Process {
        /// Readable files and folders.
        read_only: Vec<PathBuf>,
        /// Writable files and folders.
        read_write: Vec<PathBuf>,
    },
}

/// What the root of a container looks like.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Root {
    /// An empty folder of the host on which it is put together; private to the cage.
    pub(crate) mount_point: PathBuf,
    /// The machine's name.
    pub(crate) hostname: String,
    /// What it shows of programs and libraries.
    pub(crate) base: Base,
    /// Small files, with their text.
    pub(crate) files: Vec<(PathBuf, String)>,
    /// What this cage has on top.
    pub(crate) binds: Vec<Bind>,
    /// What its program may write to.
    pub(crate) scratch: Scratch,
    /// What it shows of the kernel.
    pub(crate) proc: Proc,
}

/// What the program of a container may write to.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Scratch {
    /// A `/tmp` of this many bytes, and a `/dev/shm`.
    Tmp(u64),
    /// The box, `/tmp` and `/dev/shm`, which are of one size together.
    Box(BoxSize),
}

/// How much there may be in the box, `/tmp` and `/dev/shm` together.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct BoxSize {
    /// Of all files' contents.
    pub(crate) bytes: u64,
    /// Files, folders and links.
    pub(crate) inodes: u64,
    /// uid and gid of the box, in the user namespace that the mounts belong to.
    pub(crate) owner: (u32, u32),
}

/// How much `/proc` tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Proc {
    /// All but what stands in a list, as in Docker.
    Usual,
    /// Of the machine only what stands in a list, and of the cage only the program's processes.
    Bare,
}

/// What a root shows of programs and libraries.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Base {
    /// Those of the host.
    Host(Standard),
    /// Those of an image: folders of the host, topmost first.
    Layers(Vec<PathBuf>),
}

/// What a cage shows of the host.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Standard {
    /// Paths and what they point to, as on the host: `/bin` to `usr/bin`.
    pub(crate) symlinks: Vec<(PathBuf, PathBuf)>,
    /// Paths that are the same inside and read-only. One that has gone since is left out.
    pub(crate) read_only: Vec<PathBuf>,
    /// Folders below those that are empty inside, where they are there.
    pub(crate) covered: Vec<PathBuf>,
}

/// Whom a program runs as, as seen inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Supplementary groups; with a user namespace there are none.
    pub(crate) groups: Vec<u32>,
}

/// Who the cage's user is to the host.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct UserNamespace {
    /// uid and gid as seen inside.
    pub(crate) inner: (u32, u32),
    /// hob's own uid and gid.
    pub(crate) outer: (u32, u32),
}

/// Resource limits of each process.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Rlimits {
    /// Open files.
    pub(crate) files: u64,
    /// Private writable memory in bytes, where no cgroup bounds all memory together.
    pub(crate) data: Option<u64>,
    /// Processes of the user, where no cgroup counts them and the user is the cage's own.
    pub(crate) processes: Option<u64>,
}

/// What the helper and the cage's init tell the daemon. When the channel closes after `Started`
/// with no `Failed`, the program runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The helper is in its cgroups and waits for the plan.
    Ready,
    /// The first process exists; its pidfd comes along.
    Started {
        /// Process id as the host sees it.
        pid: u32,
    },
    /// A one-shot cage stands and waits for its program.
    Built,
    /// A step did not work; nothing runs.
    Failed(Failure),
}

/// What did not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The step with its object: "mount /usr". `None` for the exec of the program itself.
    pub(crate) step: Option<String>,
    /// What the kernel said, and the cure where it is known.
    pub(crate) problem: String,
}

impl Failure {
    /// For `map_err`: names the step at which the kernel said no.
    pub(crate) fn at<E: std::fmt::Display>(step: impl Into<String>) -> impl FnOnce(E) -> Self {
        let step = step.into();
        move |error| Self {
            step: Some(step),
            problem: error.to_string(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{step}: {}", self.problem),
            None => f.write_str(&self.problem),
        }
    }
}
