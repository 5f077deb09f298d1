use std::{path::PathBuf, thread::available_parallelism, time::Duration};

use hob_model::sandbox::{RunMaxima, SandboxLevel};
use hob_sandbox::CageLimits;

/// Places in line where the owner says nothing.
const QUEUE: usize = 100;
/// Default for [`LocalPoolConfig::lease`].
const LEASE: Duration = Duration::from_secs(30);
/// Default for [`LocalPoolConfig::cpu_millis`]: one core.
const CPU_MILLIS: u32 = 1000;
/// Open file descriptors of each process.
const DESCRIPTORS: u32 = 1024;
/// The least that a pool has.
const LEAST_SIZE: usize = 2;
/// Sandboxes for each core: while one is made or destroyed, another one runs.
const FOR_EACH_CORE: usize = 2;

/// What a [`LocalPool`](super::LocalPool) has to know.
#[derive(Debug, Clone)]
pub struct LocalPoolConfig {
    /// Folder of what only makes sense while this hob runs, best on a tmpfs; its `leases/` is the
    /// pool's.
    pub run: PathBuf,
    /// Folders in which the run folders of other hobs may be, each called `hob-…`.
    pub neighbours: Vec<PathBuf>,
    /// How strong each sandbox is.
    pub level: SandboxLevel,
    /// OCI runtime for the levels above `container`; `None` takes what is installed.
    pub runtime: Option<String>,
    /// Most sandboxes at once: those that wait, those that run, and those on their way out. 1 to
    /// [`MAX_SIZE`](super::MAX_SIZE).
    pub size: usize,
    /// Most callers in line.
    pub queue: usize,
    /// How long a lease outlives its run's time limit, should this hob die.
    pub lease: Duration,
    /// Most that a run may use, and what it gets where it does not ask.
    pub limits: RunMaxima,
    /// Thousandths of a core that each sandbox has at any time, at least 1; no order changes it.
    pub cpu_millis: u32,
    /// Languages beside the built-in ones, or in their place.
    pub languages: Vec<LanguageSetting>,
}

/// A language as the owner describes it. What is absent stays as it is built in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LanguageSetting {
    /// What it is called.
    pub name: String,
    /// Program and arguments, with `{file}` or `{script}` among them.
    pub run: Option<Vec<String>>,
    /// Name of the script's file.
    pub file: Option<String>,
    /// Other names.
    pub aliases: Option<Vec<String>>,
    /// Program and arguments that print its version.
    pub version: Option<Vec<String>>,
}

// === impl LocalPoolConfig ===

impl LocalPoolConfig {
    /// With the defaults.
    pub fn new(run: PathBuf) -> Self {
        Self {
            run,
            neighbours: Vec::new(),
            level: SandboxLevel::default(),
            runtime: None,
            size: Self::usual_size(),
            queue: QUEUE,
            lease: LEASE,
            limits: RunMaxima::default(),
            cpu_millis: CPU_MILLIS,
            languages: Vec::new(),
        }
    }

    /// Sandboxes of a pool whose owner says nothing.
    pub fn usual_size() -> usize {
        (cores() * FOR_EACH_CORE).max(LEAST_SIZE)
    }

    /// What the cage of a run with these `limits` may use.
    pub(super) fn of_cage(&self, limits: &RunMaxima) -> CageLimits {
        CageLimits {
            memory: limits.memory.0,
            cpu_millis: self.cpu_millis,
            pids: limits.pids,
            tmp: limits.disk.0,
            files: DESCRIPTORS,
        }
    }
}

/// Of this machine, at least one.
pub(super) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}
