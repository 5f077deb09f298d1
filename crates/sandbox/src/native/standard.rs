//! What every cage shows of the host.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use super::plan::Standard;
use crate::{BOX, CAGE_UID};

/// Devices that programs expect to read and write.
pub(super) const DEVICES: [&str; 6] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/tty",
];

/// Folders at the top whose contents are programs and libraries: as symlinks or folders, as the
/// host has them.
const TOP: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Files and folders of `/etc` that programs need and that hold no secrets.
const ETC: [&str; 33] = [
    "ImageMagick-6",
    "ImageMagick-7",
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "ethertypes",
    "fonts",
    "gai.conf",
    "host.conf",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "lsb-release",
    "machine-info",
    "magic",
    "maven",
    "mime.types",
    "mke2fs.conf",
    "networks",
    "nodejs",
    "nsswitch.conf",
    "os-release",
    "perl",
    "pki",
    "protocols",
    "resolv.conf",
    "rpc",
    "services",
    "timezone",
];

/// What a program at level `process` may read beside: in a container these are the cage's own.
pub(crate) const UNCAGED: [&str; 5] = [
    "/proc",
    "/etc/passwd",
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
];

/// Beginnings of further names in `/etc`: these carry version numbers.
const ETC_PREFIXES: [&str; 3] = ["java", "python3", "ssl"];

/// What a stranger's program may read of `/etc`: what programs do not work without and what every
/// machine of its kind has. Nothing in which an owner may have written something down (Maven's
/// settings, `pki` and `ssl` as a whole), nothing of the machine itself (its time zone, networks,
/// resolver), nothing of use only with a network.
const STRANGER_ETC: [&str; 22] = [
    "ImageMagick-6",
    "ImageMagick-7",
    "alternatives",
    // Where OpenSSL of Fedora and its kin is told what it may do.
    "crypto-policies",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "lsb-release",
    "magic",
    "mime.types",
    "os-release",
    "perl",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "protocols",
    "services",
    "ssl/certs",
    "ssl/openssl.cnf",
];
const STRANGER_PREFIXES: [&str; 2] = ["java-", "python3"];

/// What a stranger does not see of [`TOP`] and `/usr`: settings and sources, in which an owner may
/// have written something down, as a registry's token in `/usr/local/etc/npmrc`.
const STRANGER_COVERED: [&str; 3] = ["/usr/local/etc", "/usr/local/src", "/usr/src"];

/// uid and gid of a stranger's program as it sees itself.
pub(crate) const STRANGER_ID: u32 = 1000;

/// Names are looked up in the cage's own files.
const SWITCH: &str =
    "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n";

/// For whom a root is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reader {
    /// A function, which the machine's owner deployed.
    Function,
    /// A program of somebody whom nobody knows.
    Stranger,
}

/// The host's part of a root, read again only when `/etc` changed.
#[derive(Debug)]
pub(crate) struct Cache {
    reader: Reader,
    read: Mutex<Option<(SystemTime, Standard)>>,
}

impl Cache {
    pub(crate) fn new(reader: Reader) -> Self {
        let read = Mutex::new(None);
        Self { reader, read }
    }

    pub(crate) fn get(&self) -> Standard {
        let changed = fs::metadata("/etc")
            .and_then(|etc| etc.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut cached = self
            .read
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*cached {
            Some((at, standard)) if *at == changed => standard.clone(),
            _ => cached.insert((changed, self.reader.read())).1.clone(),
        }
    }
}

impl Standard {
    /// Leaves out what one cage has a file of its own for.
    pub(crate) fn without(mut self, files: &[(PathBuf, String)]) -> Self {
        self.read_only
            .retain(|path| !files.iter().any(|(own, _)| own == path));
        self
    }
}

impl Reader {
    fn read(self) -> Standard {
        let mut standard = programs();
        let mut etc = match self {
            Self::Function => etc(&ETC, &ETC_PREFIXES),
            Self::Stranger => etc(&STRANGER_ETC, &STRANGER_PREFIXES),
        };
        if let Self::Stranger = self {
            standard.covered = STRANGER_COVERED.map(PathBuf::from).into();
        }
        etc.retain(|path| path.exists());
        etc.sort();
        standard.read_only.extend(etc);
        standard
    }
}

fn programs() -> Standard {
    let mut standard = Standard {
        symlinks: Vec::new(),
        read_only: vec!["/usr".into()],
        covered: Vec::new(),
    };
    for path in TOP.map(|name| Path::new("/").join(name)) {
        match fs::read_link(&path) {
            Ok(target) => standard.symlinks.push((path, target)),
            Err(_) if path.is_dir() => standard.read_only.push(path),
            Err(_) => {}
        }
    }
    standard
}

fn etc(names: &[&str], prefixes: &[&str]) -> Vec<PathBuf> {
    let there = fs::read_dir("/etc").into_iter().flatten().flatten();
    let there = there.filter_map(|entry| entry.file_name().into_string().ok());
    let of_a_kind = there.filter(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)));
    let named = names.iter().map(|name| (*name).to_owned());
    named
        .chain(of_a_kind)
        .map(|name| Path::new("/etc").join(name))
        .collect()
}

/// Small files of the cage's own, over an image's. Users and groups are those of the image.
pub(crate) fn files_over_image(hostname: &str) -> Vec<(PathBuf, String)> {
    let hosts = format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n"
    );
    vec![
        ("/etc/hostname".into(), format!("{hostname}\n")),
        ("/etc/hosts".into(), hosts),
    ]
}

/// Small files of the cage's own, in place of the host's.
pub(crate) fn files(hostname: &str) -> Vec<(PathBuf, String)> {
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_else(|_| "127.0.0.1 localhost\n".into());
    let mut files = accounts("hob", CAGE_UID, "/tmp");
    files.extend([
        ("/etc/hostname".into(), format!("{hostname}\n")),
        (
            "/etc/hosts".into(),
            format!("{}\n127.0.1.1 {hostname}\n", hosts.trim_end()),
        ),
    ]);
    files
}

/// The same for a stranger, who is told nothing of the host.
pub(crate) fn files_of_stranger(hostname: &str) -> Vec<(PathBuf, String)> {
    let mut files = accounts("sandbox", STRANGER_ID, BOX);
    files.extend(files_over_image(hostname));
    // The host's own may name services that are not there.
    files.push(("/etc/nsswitch.conf".into(), SWITCH.into()));
    files
}

/// Users and groups: root, who owns what there is, and the program's.
fn accounts(name: &str, id: u32, home: &str) -> Vec<(PathBuf, String)> {
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\n{name}:x:{id}:{id}:{name}:{home}:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\n{name}:x:{id}:\nnogroup:x:65534:\n");
    vec![("/etc/passwd".into(), passwd), ("/etc/group".into(), group)]
}
