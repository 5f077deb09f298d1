//! What every cage shows of the host.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::SystemTime,
};

use super::plan::Standard;
use crate::CAGE_UID;

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

/// The host's part of a root, read again only when `/etc` changed.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<Option<(SystemTime, Standard)>>);

impl Cache {
    pub(crate) fn get(&self) -> Standard {
        let changed = fs::metadata("/etc")
            .and_then(|etc| etc.modified())
            .unwrap_or(SystemTime::UNIX_EPOCH);
        let mut cached = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*cached {
            Some((at, standard)) if *at == changed => standard.clone(),
            _ => cached.insert((changed, read())).1.clone(),
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

fn read() -> Standard {
    let mut standard = Standard {
        symlinks: Vec::new(),
        read_only: vec!["/usr".into()],
    };
    for path in TOP.map(|name| Path::new("/").join(name)) {
        match fs::read_link(&path) {
            Ok(target) => standard.symlinks.push((path, target)),
            Err(_) if path.is_dir() => standard.read_only.push(path),
            Err(_) => {}
        }
    }
    let names = fs::read_dir("/etc").into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok());
    let wanted = |name: &String| {
        ETC.contains(&name.as_str()) || ETC_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
    };
    let mut etc: Vec<PathBuf> = names
        .filter(wanted)
        .map(|name| Path::new("/etc").join(name))
        .collect();
    etc.retain(|path| path.exists());
    etc.sort();
    standard.read_only.extend(etc);
    standard
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
    let passwd = format!(
        "root:x:0:0:root:/root:/usr/sbin/nologin\nhob:x:{CAGE_UID}:{CAGE_UID}:hob:/tmp:/bin/sh\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    );
    let group = format!("root:x:0:\nhob:x:{CAGE_UID}:\nnogroup:x:65534:\n");
    vec![
        ("/etc/passwd".into(), passwd),
        ("/etc/group".into(), group),
        ("/etc/hostname".into(), format!("{hostname}\n")),
        (
            "/etc/hosts".into(),
            format!("{}\n127.0.1.1 {hostname}\n", hosts.trim_end()),
        ),
    ]
}
