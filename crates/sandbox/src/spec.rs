use std::{fs::File, path::PathBuf};

use hob_model::Isolation;
use serde::{Deserialize, Serialize};

mod check;

pub(crate) use check::is_id;

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
    /// Working directory, as seen from inside; empty means `/`. One that is not in the image's
    /// layers is made, owned by root; in a root of the host it must be there.
    pub cwd: PathBuf,
    /// The machine's name as the program sees it; up to 64 bytes. Ignored at level `process`.
    pub hostname: String,
    /// What the cage shows of programs and libraries.
    pub root: CageRoot,
    /// Which network the program has.
    pub network: CageNetwork,
    /// Small read-only files with their text, in place of what the root has there: `/etc/hosts`.
    /// Paths are absolute; not below a folder that the cage shows of the host, such as `/usr`.
    /// All cages at level `container` have an `/etc/hostname` and an `/etc/hosts` without asking.
    /// Ignored at level `process`.
    pub files: Vec<(PathBuf, String)>,
    /// Files and folders on top of the root, mounted in this order.
    pub binds: Vec<Bind>,
    /// What all processes of the cage may use together.
    pub limits: CageLimits,
    /// Where the program's stdout and stderr go; open it for appending.
    pub output: File,
    /// As whom the program runs.
    pub user: CageUser,
    /// What the program is sent by [`Cage::terminate`](crate::Cage::terminate), 1 to 64, normally
    /// [`STOP_SIGNAL`]; of an OCI runtime always that.
    pub stop_signal: i32,
}

/// What a cage shows of programs and libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CageRoot {
    /// The host's own, read-only, with a few files of `/etc`.
    Host,
    /// Those of an image and nothing of the host: its layers' folders, topmost first, 1 to
    /// [`MAX_LAYERS`], read-only and never written to. What a layer takes away is a character
    /// device 0/0 of that name; a folder that hides those below has the attribute
    /// `user.overlay.opaque` set to `y`.
    ///
    /// Only of hob's own cages at level `container`. `/proc`, `/sys`, `/dev`, `/tmp` and `/run`
    /// are the cage's, as are the folders that lead to binds and files: where the image has a
    /// symlink of that name, the folder is seen.
    Layers(Vec<PathBuf>),
}

/// Which network a cage has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CageNetwork {
    /// The host's.
    Host,
    /// The one at this path, such as that of a [`Namespace`](crate::network::Namespace). Only when
    /// hob is root.
    Namespace(PathBuf),
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CageUser {
    /// uid and gid [`CAGE_UID`] when hob is root. Else hob's own user, which the cage sees as
    /// [`CAGE_UID`] at level `container`.
    Unprivileged,
    /// The user that an image names, root included. Always without capabilities, and setuid files
    /// give nothing.
    ///
    /// When hob is root these are the host's ids as well: what they own and a bind shows can be
    /// written, and with the host's network a program of uid 0 can speak to services of the host
    /// that trust root by their abstract sockets. Without root they are names for hob's own user.
    ///
    /// Only of hob's own cages at level `container`.
    Of {
        /// User id.
        uid: u32,
        /// Group id.
        gid: u32,
        /// Supplementary groups; ignored when hob is not root.
        groups: Vec<u32>,
    },
}

/// The uid and gid of [`CageUser::Unprivileged`] in a cage that root made.
pub const CAGE_UID: u32 = 12_000;
/// SIGTERM, which asks programs to end.
pub const STOP_SIGNAL: i32 = 15;
/// Most layers of one root.
pub const MAX_LAYERS: usize = 127;
