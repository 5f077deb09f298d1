use std::{env, fs, path::PathBuf};

use hob_model::Isolation;
use serde::{Deserialize, Serialize};

use crate::{Mechanism, cgroup::Tree, native::confine};

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
    /// Whether cages can be frozen.
    pub freezer: bool,
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

/// The first kernel with `mount_setattr`; `clone3`, `close_range` and pidfds are older.
const OLDEST_KERNEL: (u32, u32) = (5, 12);

/// Runtime programs that are looked for.
const RUNTIMES: [&str; 4] = ["runsc", "crun", "runc", "youki"];

/// Number of the capability that mounting and making namespaces needs.
const CAP_SYS_ADMIN: u32 = 21;

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
    /// Looks, and tries nothing.
    pub(crate) fn look(tree: &Tree) -> Self {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
            .unwrap_or_default()
            .trim()
            .to_owned();
        let (seccomp, user_namespaces) = (seccomp(), user_namespaces());
        let container = container(&kernel, &seccomp, &user_namespaces);
        let cgroup = tree.support();
        let landlock_abi = confine::kernel_abi();
        let warnings = warnings(&cgroup, landlock_abi);
        let runtimes = RUNTIMES.iter().filter_map(|name| runtime(name)).collect();
        Self {
            kernel,
            container,
            process: seccomp.clone(),
            cgroup,
            landlock_abi,
            seccomp,
            user_namespaces,
            runtimes,
            warnings,
        }
    }

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

// === looking ===

/// Whether this process may make namespaces and mounts without a user namespace of its own.
pub(crate) fn is_privileged() -> bool {
    rustix::process::geteuid().is_root() && has(CAP_SYS_ADMIN)
}

/// Whether this process has the capability of that number.
pub(crate) fn has(capability: u32) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    effective.is_some_and(|set| set & (1 << capability) != 0)
}

fn seccomp() -> Able {
    if fs::exists("/proc/sys/kernel/seccomp/actions_avail").unwrap_or(false) {
        return Able::Yes;
    }
    Able::no(
        "the kernel has no seccomp filters",
        "use a kernel with CONFIG_SECCOMP_FILTER",
    )
}

fn user_namespaces() -> Able {
    let setting = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let allow = |name: &str, value: &str| {
        let path = name.replace('/', ".");
        Able::no(
            format!("{path} keeps users from making namespaces"),
            format!("`sysctl -w {path}={value}`, or run hob as root"),
        )
    };
    if setting("user/max_user_namespaces").is_none_or(|most| most == 0) {
        return allow("user/max_user_namespaces", "10000");
    }
    if setting("kernel/unprivileged_userns_clone") == Some(0) {
        return allow("kernel/unprivileged_userns_clone", "1");
    }
    if setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return allow("kernel/apparmor_restrict_unprivileged_userns", "0");
    }
    Able::Yes
}

fn container(kernel: &str, seccomp: &Able, user_namespaces: &Able) -> Able {
    let mut numbers = kernel
        .split(|c: char| !c.is_ascii_digit())
        .map(|part| part.parse().unwrap_or(0));
    let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OLDEST_KERNEL {
        let (major, minor) = OLDEST_KERNEL;
        return Able::no(
            format!("the kernel is {kernel}"),
            format!("use Linux {major}.{minor} or newer"),
        );
    }
    if !seccomp.is_able() || is_privileged() {
        return seccomp.clone();
    }
    user_namespaces.clone()
}

fn runtime(name: &str) -> Option<Runtime> {
    Some(Runtime {
        name: name.to_owned(),
        path: on_path(name)?,
        able: Able::Yes,
    })
}

/// Where a program is on `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn warnings(cgroup: &CgroupSupport, landlock_abi: i32) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Able::No { why, cure } = &cgroup.able {
        warnings.push(format!(
            "memory, processes and cpu are not limited together for a cage, only memory (and, without root, \
             processes) by rlimits for each: {why}; {cure}"
        ));
    }
    if landlock_abi == 0 {
        warnings.push(
            "level `process` does not hide the host's files, since the kernel has no landlock; use a kernel \
             5.13 or newer with `landlock` in its `lsm=` list, or level `container`"
                .into(),
        );
    }
    warnings
}
