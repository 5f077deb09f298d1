use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::{
    Access, CAGE_UID, CageLimits, CageNetwork, CageSpec,
    capabilities::is_privileged,
    native::{plan::Standard, standard},
    seccomp,
};

/// What gVisor's `runsc` needs beside what every runtime understands: the host's network, since
/// the gateway calls functions over it.
pub(crate) const RUNSC_FLAGS: [&str; 1] = ["--network=host"];

/// Threads that gVisor's own kernel may have beside the program's, which are counted with them.
const RUNSC_THREADS: u32 = 512;

/// The cgroup that the runtime is to use.
pub(crate) struct Resources {
    /// Below each hierarchy's mount.
    pub(crate) cgroup: String,
    pub(crate) limits: CageLimits,
}

/// What tells a runtime all.
pub(crate) const CONFIG: &str = "config.json";

/// Version of the OCI runtime specification.
pub(crate) const OCI_VERSION: &str = "1.0.2";

/// Size of `/dev/shm` and `/dev`, as in hob's own cages.
const SHM: &str = "size=65536k";

/// Writes the bundle: `config.json`, an empty root to hang mounts on, and the cage's own files.
pub(crate) fn write(
    bundle: &Path,
    spec: &CageSpec,
    standard: &Standard,
    resources: &Resources,
) -> io::Result<()> {
    let mut files = standard::files(&spec.hostname);
    files.extend(spec.files.iter().cloned());
    write_root(bundle, standard, &files)?;
    write_config(bundle, &config(spec, standard, resources))
}

/// Writes a root to hang mounts on, with small files of the cage's own; later ones are written
/// over earlier ones.
pub(crate) fn write_root(
    bundle: &Path,
    standard: &Standard,
    files: &[(PathBuf, String)],
) -> io::Result<()> {
    let root = bundle.join("root");
    fs::create_dir_all(root.join("etc"))?;
    for (link, target) in &standard.symlinks {
        std::os::unix::fs::symlink(target, root.join(inner(link)))?;
    }
    for (path, text) in files {
        let path = root.join(inner(path));
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, text)?;
    }
    Ok(())
}

pub(crate) fn write_config(bundle: &Path, config: &Value) -> io::Result<()> {
    fs::write(bundle.join(CONFIG), serde_json::to_vec_pretty(config)?)
}

fn inner(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn config(spec: &CageSpec, standard: &Standard, resources: &Resources) -> Value {
    let env: Vec<String> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let files =
        json!({ "type": "RLIMIT_NOFILE", "soft": spec.limits.files, "hard": spec.limits.files });
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": false,
            "user": { "uid": CAGE_UID, "gid": CAGE_UID, "umask": 0o022 },
            "args": spec.argv,
            "env": env,
            "cwd": Path::new("/").join(&spec.cwd),
            "capabilities": { "bounding": [], "effective": [], "inheritable": [], "permitted": [], "ambient": [] },
            "rlimits": [files, { "type": "RLIMIT_CORE", "soft": 0, "hard": 0 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "root", "readonly": true },
        "hostname": spec.hostname,
        "mounts": mounts(spec, standard),
        "linux": linux(&spec.network, resources),
    })
}

fn mounts(spec: &CageSpec, standard: &Standard) -> Vec<Value> {
    let tmp = format!("size={}", spec.limits.tmp);
    let mut mounts = kernel_mounts();
    mounts.push(fresh("/dev/shm", "tmpfs", &["mode=1777", SHM]));
    mounts.push(fresh("/tmp", "tmpfs", &["mode=1777", &tmp]));
    mounts.extend(standard.read_only.iter().map(|path| bind(path, path, "ro")));
    mounts.extend(spec.binds.iter().map(|item| {
        bind(
            &item.source,
            &item.target,
            if item.access == Access::ReadOnly {
                "ro"
            } else {
                "rw"
            },
        )
    }));
    mounts
}

/// What every cage has of a kernel.
pub(crate) fn kernel_mounts() -> Vec<Value> {
    vec![
        fresh("/proc", "proc", &["noexec"]),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", SHM] }),
    ]
}

/// A filesystem of the cage's own.
pub(crate) fn fresh(target: &str, kind: &str, more: &[&str]) -> Value {
    let options: Vec<&str> = ["nosuid", "nodev"].iter().chain(more).copied().collect();
    json!({ "destination": target, "type": kind, "source": kind, "options": options })
}

/// Something of the host; `access` is `ro` or `rw`.
pub(crate) fn bind(source: &Path, target: &Path, access: &str) -> Value {
    let options = ["rbind", "rprivate", "nosuid", "nodev", access];
    json!({ "destination": target, "type": "bind", "source": source, "options": options })
}

fn linux(network: &CageNetwork, resources: &Resources) -> Value {
    let limits = &resources.limits;
    let period = crate::cgroup::CPU_PERIOD;
    let mut namespaces = vec!["pid", "ipc", "uts", "mount"];
    let mut linux = json!({
        "cgroupsPath": resources.cgroup,
        "resources": {
            "memory": { "limit": limits.memory, "swap": limits.memory },
            "cpu": { "period": period, "quota": period * u64::from(limits.cpu_millis) / 1000 },
            "pids": { "limit": crate::cgroup::pids_with_init(limits) },
        },
        "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
            "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware"],
        "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        "seccomp": seccomp::oci_profile(&seccomp::FUNCTION),
    });
    if !is_privileged() {
        namespaces.push("user");
        let map = |outer: u32| json!([{ "containerID": CAGE_UID, "hostID": outer, "size": 1 }]);
        linux["uidMappings"] = map(rustix::process::geteuid().as_raw());
        linux["gidMappings"] = map(rustix::process::getegid().as_raw());
    }
    let own = namespaces.into_iter().map(|kind| json!({ "type": kind }));
    let network = match network {
        CageNetwork::Host => None,
        CageNetwork::Namespace(path) => Some(json!({ "type": "network", "path": path })),
    };
    linux["namespaces"] = own.chain(network).collect();
    linux
}

/// The limits of the cage's cgroup, which for `runsc` holds its kernel too.
pub(crate) fn limits(program: &str, spec: &CageSpec) -> CageLimits {
    let more = if is_runsc(program) { RUNSC_THREADS } else { 0 };
    CageLimits {
        pids: spec.limits.pids.saturating_add(more),
        ..spec.limits
    }
}

pub(crate) fn is_runsc(program: &str) -> bool {
    Path::new(program)
        .file_name()
        .is_some_and(|name| name == "runsc")
}
