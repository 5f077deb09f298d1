//! The folder that tells an OCI runtime what cage to make, and holds all that is left of it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    super::native::{HOSTNAME, MAX_INODES},
    PROGRAM,
};
use crate::{
    BOX, CageLimits,
    native::{plan::Standard, standard},
    oci::bundle::{OCI_VERSION, bind, fresh, kernel_mounts, write_config, write_root},
};

/// Where hob's own executable is inside, in a folder that only the first process may enter.
const OWN_FOLDER: &str = ".hob";
/// What the first process needs to hang the program's folders into their places, to make another
/// user of the program's process and to end all of that user's, and no more.
const CAPABILITIES: [&str; 6] = [
    "CAP_CHOWN",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
];

/// Writes all of it. `helper` is hob's own executable.
pub(super) fn write(
    bundle: &Path,
    helper: &Path,
    standard: &Standard,
    limits: &CageLimits,
) -> io::Result<()> {
    write_root(bundle, standard, &standard::files_of_stranger(HOSTNAME))?;
    fs::create_dir(bundle.join("root/tmp"))?;
    let mut private = fs::DirBuilder::new();
    private
        .mode(0o700)
        .create(bundle.join("root").join(OWN_FOLDER))?;
    write_config(bundle, &config(helper, standard, limits))
}

fn config(helper: &Path, standard: &Standard, limits: &CageLimits) -> Value {
    let own = Path::new("/").join(OWN_FOLDER).join("hob");
    let namespaces = ["pid", "ipc", "uts", "mount", "network"];
    let namespaces = namespaces.map(|kind| json!({ "type": kind }));
    let none: [&str; 0] = [];
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": false,
            // Of the cage's own kernel. The program is another's.
            "user": { "uid": 0, "gid": 0, "umask": 0o022 },
            "args": [&own, Path::new(PROGRAM)],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES,
                "inheritable": none, "ambient": none },
            "rlimits": [{ "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "root", "readonly": true },
        "hostname": HOSTNAME,
        "mounts": mounts(helper, &own, standard, limits),
        "linux": {
            "namespaces": namespaces,
            // What a virtual machine is given as its memory.
            "resources": { "memory": { "limit": limits.memory } },
        },
        // crun boots a machine only when told, or when it is called `krun`.
        "annotations": { "run.oci.handler": "krun" },
    })
}

fn mounts(helper: &Path, own: &Path, standard: &Standard, limits: &CageLimits) -> Vec<Value> {
    let size = format!("size={}", limits.tmp);
    // gVisor's kernel knows no such limit; there each file is memory of the cage's.
    let inodes = format!("nr_inodes={MAX_INODES}");
    let mut mounts = kernel_mounts();
    // The first process hangs its folders where they belong.
    mounts.push(fresh(BOX, "tmpfs", &["mode=755", &size, &inodes]));
    mounts.extend(standard.read_only.iter().map(|path| bind(path, path, "ro")));
    // A runtime would make a folder that is not there, where none can be made.
    let there = standard.covered.iter().filter(|path| is_folder(path));
    let cover = |path: &PathBuf| {
        let path = path.to_string_lossy();
        fresh(&path, "tmpfs", &["ro", "mode=755", "size=4096"])
    };
    mounts.extend(there.map(cover));
    mounts.push(bind(helper, own, "ro"));
    mounts
}

/// Whether it is a folder, and no link on the way.
fn is_folder(path: &Path) -> bool {
    path.is_dir() && fs::canonicalize(path).is_ok_and(|real| real == path)
}

/// Where hob's own executable is, also when it is being replaced.
pub(super) fn executable(helper: &Path) -> io::Result<PathBuf> {
    /// What the kernel adds to the name of a file that is no more.
    const DELETED: &str = " (deleted)";
    let path = fs::canonicalize(helper).or_else(|_| fs::read_link(helper))?;
    let text = path.to_string_lossy();
    Ok(match text.strip_suffix(DELETED) {
        // Its successor understands the same orders, or says so.
        Some(successor) => PathBuf::from(successor),
        None => path,
    })
}
