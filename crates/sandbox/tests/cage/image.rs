//! Images made on the spot from Debian's static busybox.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use hob_sandbox::{CageRoot, CageSpec, CageUser};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, mknodat, setxattr};

use crate::yard::{Yard, has};

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: [&str; 17] = [
    "cat", "chmod", "cut", "echo", "grep", "hostname", "id", "ls", "mount", "pwd", "sh", "sleep",
    "sort", "stat", "touch", "true", "wc",
];

/// One layer's folder. Paths are those of the image, without the first `/`.
pub(crate) struct Layer(PathBuf);

impl Layer {
    pub(crate) fn new(yard: &Yard, name: &str) -> Self {
        let folder = yard.path(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// A layer with busybox and a few files that images have; `None` says that it is not here.
    pub(crate) fn busybox(yard: &Yard) -> Option<Self> {
        if !has(BUSYBOX) {
            return None;
        }
        let layer = Self::new(yard, "base");
        layer.folder("bin");
        fs::copy(BUSYBOX, layer.path("bin/busybox")).unwrap();
        for applet in APPLETS {
            layer.link(&format!("bin/{applet}"), "busybox");
        }
        layer.file(
            "etc/passwd",
            "root:x:0:0::/:/bin/sh\nimage:x:33:44::/:/bin/sh\n",
        );
        layer.file("etc/group", "root:x:0:\nimages:x:44:\nmore:x:55:\n");
        Some(layer)
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path)
    }

    pub(crate) fn folder(&self, path: &str) {
        fs::create_dir_all(self.path(path)).unwrap();
    }

    pub(crate) fn file(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn link(&self, path: &str, target: &str) {
        symlink(target, self.path(path)).unwrap();
    }

    /// Takes away what layers below have there.
    pub(crate) fn whiteout(&self, path: &str) {
        let device = FileType::CharacterDevice;
        mknodat(CWD, self.path(path), device, Mode::empty(), 0).unwrap();
    }

    /// Hides what layers below have in this folder.
    pub(crate) fn opaque(&self, path: &str) {
        self.folder(path);
        let name = "user.overlay.opaque";
        setxattr(self.path(path), name, b"y", XattrFlags::empty()).unwrap();
    }

    /// A copy of busybox that runs as its owner.
    pub(crate) fn setuid(&self, path: &str) {
        self.folder("setuid");
        fs::copy(BUSYBOX, self.path(path)).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o6755)).unwrap();
    }

    /// Everything that a write would change.
    pub(crate) fn state(&self) -> Vec<String> {
        let mut lines = Vec::new();
        describe(&self.0, &mut lines);
        lines.sort();
        lines
    }
}

fn describe(path: &Path, lines: &mut Vec<String>) {
    let found = fs::symlink_metadata(path).unwrap();
    lines.push(format!(
        "{} {:o} {} {} {} {:?} {:?}",
        path.display(),
        found.mode(),
        found.ino(),
        found.uid(),
        found.size(),
        (found.mtime(), found.mtime_nsec()),
        (found.ctime(), found.ctime_nsec()),
    ));
    if found.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            describe(&entry.unwrap().path(), lines);
        }
    }
}

/// `argv` in a cage of these layers, topmost first.
pub(crate) fn spec(yard: &Yard, layers: &[&Layer], argv: &[&str]) -> CageSpec {
    let mut spec = yard.spec(argv);
    spec.root = CageRoot::Layers(layers.iter().map(|layer| layer.0.clone()).collect());
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into())];
    spec
}

pub(crate) fn shell(yard: &Yard, layers: &[&Layer], script: &str) -> String {
    yard.run_spec(spec(yard, layers, &["sh", "-c", script])).1
}

pub(crate) fn user(uid: u32, gid: u32, groups: &[u32]) -> CageUser {
    CageUser::Of {
        uid,
        gid,
        groups: groups.to_vec(),
    }
}
