//! Which program makes the cages of a level, and whether it can here.

use std::{
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use hob_model::sandbox::SandboxLevel;

use super::kvm;
use crate::{Able, CageLimits, capabilities};

/// Threads of gVisor's own kernel, beside the program's. Host and program share one count.
const GVISOR_THREADS: u32 = 512;
/// Threads of a virtual machine's monitor, beside the guest's processors.
const MONITOR_THREADS: u32 = 64;
/// Memory of such a kernel or monitor and its helpers, in bytes. Measured for gVisor's: 26 MB with
/// a shell under it; it takes more when there is more to keep account of.
const OWN_MEMORY: u64 = 64 << 20;

/// Programs for the level `vm`, by preference.
const MONITORS: [&str; 2] = ["krun", "kata-runtime"];

/// A program that makes cages with a kernel of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Runtime {
    pub(super) program: PathBuf,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gvisor,
    /// crun with libkrun, under one of its names.
    Krun,
    /// Any other that boots a virtual machine.
    Monitor,
}

// === impl Runtime ===

impl Runtime {
    /// The one for `level`: `named`, or what is installed.
    pub(super) fn find(level: SandboxLevel, named: Option<&str>) -> Result<Self, Able> {
        let known: &[&str] = match level {
            SandboxLevel::Gvisor => &["runsc"],
            SandboxLevel::Container | SandboxLevel::Vm => &MONITORS,
        };
        let program = match named {
            Some(name) => locate(name),
            None => known.iter().find_map(|name| locate(name)),
        };
        let Some(program) = program else {
            return Err(missing(level, named));
        };
        let mut runtime = Self::of(program);
        match level {
            // Whatever it is called; what it makes is looked at when it has.
            SandboxLevel::Gvisor => runtime.kind = Kind::Gvisor,
            SandboxLevel::Container | SandboxLevel::Vm if runtime.kind == Kind::Gvisor => {
                return Err(Able::no(
                    format!("`{}` boots no virtual machine", runtime.program.display()),
                    "use level `gvisor` with it",
                ));
            }
            SandboxLevel::Container | SandboxLevel::Vm => kvm::usable()?,
        }
        Ok(runtime)
    }

    /// As its name tells.
    pub(super) fn of(program: PathBuf) -> Self {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let kind = match &*name {
            name if name.contains("runsc") => Kind::Gvisor,
            name if name.contains("krun") || name.contains("crun") => Kind::Krun,
            _ => Kind::Monitor,
        };
        Self { kind, program }
    }

    /// All arguments up to the container's name.
    pub(super) fn run(&self, bundle: &Path) -> Vec<OsString> {
        let mut words = self.global(bundle);
        words.extend(["--log".into(), bundle.join("log").into()]);
        words.extend(["run".into(), "--bundle".into(), bundle.into()]);
        words
    }

    /// Removes what is left on disk of a container whose processes have ended.
    ///
    /// gVisor's keeps its notes in the bundle's own folder, mounts nothing that outlives its
    /// processes, and takes 50 ms to say so.
    pub(super) fn forget(&self, bundle: &Path, id: &str) -> io::Result<()> {
        if self.kind != Kind::Gvisor && bundle.exists() {
            let mut command = Command::new(&self.program);
            command.args(self.global(bundle));
            command.args(["delete", "--force", id]);
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // After a clean end it has forgotten it already, and says so.
            let _ = command.status();
        }
        match fs::remove_dir_all(bundle) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn global(&self, bundle: &Path) -> Vec<OsString> {
        let flags: &[&str] = match self.kind {
            // The cgroup is joined already. No network but loopback, and nothing writable of the
            // host's, so there is nothing to overlay.
            Kind::Gvisor => &["--network=none", "--ignore-cgroups", "--overlay2=none"],
            Kind::Krun => &["--cgroup-manager=disabled"],
            Kind::Monitor => &[],
        };
        let mut words: Vec<OsString> = flags.iter().map(OsString::from).collect();
        words.extend(["--root".into(), bundle.join("state").into()]);
        words
    }

    /// What the cgroup may use, for the program to get all that it may.
    pub(super) fn limits(&self, limits: &CageLimits) -> CageLimits {
        let threads = match self.kind {
            Kind::Gvisor => GVISOR_THREADS,
            Kind::Krun | Kind::Monitor => MONITOR_THREADS,
        };
        CageLimits {
            pids: limits.pids.saturating_add(threads),
            memory: limits.memory.saturating_add(OWN_MEMORY),
            ..*limits
        }
    }
}

fn locate(name: &str) -> Option<PathBuf> {
    match name.contains('/') {
        true => Some(PathBuf::from(name)).filter(|path| File::open(path).is_ok()),
        false => capabilities::on_path(name),
    }
}

fn missing(level: SandboxLevel, named: Option<&str>) -> Able {
    let why = |program: &str| format!("level `{level}` needs {program}, which is not there");
    // Whoever installs it should not find out only then that it does not help.
    let also = match (level, kvm::usable()) {
        (SandboxLevel::Vm, Err(Able::No { why, .. })) => format!("; and {why}"),
        _ => String::new(),
    };
    match (level, named) {
        (_, Some(name)) => Able::no(
            why(&format!("the OCI runtime `{name}`")) + &also,
            "install it, or set `runtime` to its path",
        ),
        (SandboxLevel::Gvisor, None) => Able::no(
            why("gVisor's `runsc`"),
            "`apt-get install runsc`, or get it from gvisor.dev and put it on PATH",
        ),
        (_, None) => Able::no(
            why("an OCI runtime that boots a virtual machine, `krun` or `kata-runtime`") + &also,
            "install crun with libkrun (`dnf install crun-krun`; Debian 12 has no package of it) on a \
             machine with KVM, or use level `gvisor`",
        ),
    }
}
