//! Cages made by an OCI runtime program in place of hob.
//!
//! The program runs in the foreground (`run`), as the daemon's child: so every runtime passes
//! SIGTERM on and tells the exit status, at the price of its own memory.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::{
    Cage, CageSpec, SandboxError,
    cage::Nature,
    cgroup::{self, Group, Tree},
    native::{
        launch::{First, readable},
        plan::Standard,
    },
};

pub(crate) mod bundle;

use bundle::Resources;

/// What systemd says to hob, and to nobody else: a runtime would pass sockets on into the cage, or
/// wait for the program to say that it is ready.
const OF_SYSTEMD: [&str; 4] = [
    "NOTIFY_SOCKET",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];
/// How long a runtime may take to start a program; gVisor's takes a tenth of a second.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two looks for the pid file.
const START_POLL: Duration = Duration::from_millis(1);
/// Folders of the scratch folder: a bundle for each cage, and what the runtimes note of them.
pub(crate) const BUNDLES: &str = "oci";
const ROOT: &str = "oci-root";
/// Most of a runtime's own words in an error, in bytes.
const MAX_WORDS: usize = 400;

/// What of the sandbox an OCI cage needs.
pub(crate) struct Place<'a> {
    /// Scratch folder.
    pub(crate) state: &'a Path,
    /// Name of the folder under each cgroup controller.
    pub(crate) cgroup: &'a str,
    pub(crate) tree: &'a Tree,
}

/// A container of a runtime program.
#[derive(Debug)]
pub(crate) struct Container {
    program: String,
    /// The runtime's own folder, for `--root`.
    root: PathBuf,
    bundle: PathBuf,
    id: String,
    /// The container's first process, where the runtime told it.
    pidfd: Option<OwnedFd>,
}

/// Starts a program in a cage made by `program`.
pub(crate) fn spawn(
    place: &Place<'_>,
    program: &str,
    spec: &CageSpec,
    standard: Standard,
) -> Result<Cage, SandboxError> {
    let container = Container::new(place.state, program, &spec.id);
    let bundle = container.bundle.clone();
    let group = place
        .tree
        .create(&spec.id)
        .map_err(SandboxError::system("cannot make a cgroup"))?;
    let mut attempt = Attempt {
        container: Some(container),
        group,
    };
    let limits = bundle::limits(program, spec);
    if let Some(group) = &attempt.group {
        group
            .limit(&limits)
            .map_err(SandboxError::system("cannot limit a cgroup"))?;
    }
    let resources = Resources {
        cgroup: format!("/{}/{}", place.cgroup, spec.id),
        limits,
    };
    bundle::write(&bundle, spec, &standard, &resources)
        .map_err(SandboxError::io("cannot write the bundle", &bundle))?;
    let (pid, pidfd) = attempt.run(spec)?;
    let first = First {
        pid,
        pidfd,
        group: attempt.group.take(),
    };
    let nature = Nature {
        id: spec.id.clone(),
        isolation: spec.isolation,
        limits: spec.limits,
    };
    Ok(Cage::new(nature, first, attempt.container.take()))
}

/// Removes what an earlier daemon's runtimes left on disk, but for the cages `kept`; the processes
/// of all others ended with their cgroups.
pub(crate) fn sweep(state: &Path, kept: &BTreeSet<String>) -> Result<(), SandboxError> {
    for folder in [BUNDLES, ROOT].map(|name| state.join(name)) {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // A runtime's own files have the id and more in their names.
            let name = entry.file_name().to_string_lossy().into_owned();
            if kept.iter().any(|id| name.contains(id)) {
                continue;
            }
            let path = entry.path();
            let removed = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                _ => fs::remove_file(&path),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(SandboxError::io("cannot remove", path)(error));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A cage on its way, which leaves nothing when it does not get there.
struct Attempt {
    container: Option<Container>,
    group: Option<Box<dyn Group>>,
}

impl Attempt {
    fn run(&mut self, spec: &CageSpec) -> Result<(u32, OwnedFd), SandboxError> {
        let Some(container) = self.container.as_mut() else {
            return Err(SandboxError::Spec("the cage is made already".into()));
        };
        let output = || {
            spec.output
                .try_clone()
                .map_err(SandboxError::system("cannot share the output"))
        };
        let mut command = container.command();
        command.arg("--log").arg(container.bundle.join("log"));
        command.args(["run", "--bundle"]).arg(&container.bundle);
        command
            .arg("--pid-file")
            .arg(container.bundle.join("pid"))
            .arg(&container.id);
        command
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?);
        // The terminal's Ctrl-C is the daemon's, not the runtime's.
        command.process_group(0);
        let mut child = command
            .spawn()
            .map_err(|error| container.refused(error.to_string()))?;
        let pidfd = open(child.id());
        let started = pidfd.and_then(|pidfd| {
            container.pidfd = container.wait(&pidfd)?;
            Ok(pidfd)
        });
        started.map(|pidfd| (child.id(), pidfd)).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(container) = &self.container {
            container.kill();
            container.delete();
        }
        if let Some(group) = &self.group {
            let _ = cgroup::remove(&**group);
        }
    }
}

// === impl Container ===

impl Container {
    fn new(state: &Path, program: &str, id: &str) -> Self {
        Self {
            program: program.to_owned(),
            root: state.join(ROOT),
            bundle: state.join(BUNDLES).join(id),
            id: id.to_owned(),
            pidfd: None,
        }
    }

    /// One that an earlier daemon had made; `None` when it has ended.
    pub(crate) fn adopt(state: &Path, program: &str, id: &str) -> Option<Self> {
        let mut container = Self::new(state, program, id);
        container.pidfd = Some(open(container.pid()?).ok()?);
        Some(container)
    }

    /// The runtime that made it.
    pub(crate) fn program(&self) -> &str {
        &self.program
    }

    /// Of the container's first process, once the runtime has told it.
    fn pid(&self) -> Option<u32> {
        let text = fs::read_to_string(self.bundle.join("pid")).ok()?;
        text.trim().parse().ok()
    }

    /// Ends all processes of the container, on which the runtime ends by itself. False when it
    /// did not tell which process that is.
    pub(crate) fn kill(&self) -> bool {
        // Their pid namespace, or gVisor's kernel, ends with it. An error means that it has ended.
        let kill = |pidfd| pidfd_send_signal(pidfd, Signal::KILL);
        self.pidfd.as_ref().map(kill).is_some()
    }

    /// Has the runtime forget the container, and removes the bundle.
    pub(crate) fn delete(&self) {
        let mut command = self.command();
        command.args(["delete", "--force"]).arg(&self.id);
        // After a clean end the runtime has forgotten it already, and says so.
        let _ = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.bundle);
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        for name in OF_SYSTEMD {
            command.env_remove(name);
        }
        if bundle::is_runsc(&self.program) {
            command.args(bundle::RUNSC_FLAGS);
        }
        command.arg("--root").arg(&self.root);
        command
    }

    /// Waits until the program runs, which the pid file tells, or the runtime gave up.
    fn wait(&self, runtime: &OwnedFd) -> Result<Option<OwnedFd>, SandboxError> {
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(pid) = self.pid() {
                // A short program may have ended by now.
                return Ok(open(pid).ok());
            }
            let wait = readable(std::os::fd::AsFd::as_fd(runtime), START_POLL);
            if wait.map_err(SandboxError::system("cannot wait for the runtime"))? {
                return self.ended();
            }
            if Instant::now() > deadline {
                return Err(self.refused(format!(
                    "did not start the program within {} s",
                    START_TIMEOUT.as_secs()
                )));
            }
        }
    }

    /// The runtime has ended before a pid file was seen.
    fn ended(&self) -> Result<Option<OwnedFd>, SandboxError> {
        if fs::exists(self.bundle.join("pid")).unwrap_or(false) {
            return Ok(None);
        }
        let words = self.complaint().or_else(|| self.last_words(|_| true));
        Err(self.refused(words.unwrap_or_else(|| "ended without a word; see the output".into())))
    }

    /// What the runtime itself had to say about an error, if anything.
    pub(crate) fn complaint(&self) -> Option<String> {
        let is_error = |line: &str| ["error", "FATAL"].iter().any(|word| line.contains(word));
        self.last_words(is_error)
    }

    fn last_words(&self, wanted: impl Fn(&str) -> bool) -> Option<String> {
        last_words(&self.bundle, wanted)
    }

    fn refused(&self, problem: String) -> SandboxError {
        SandboxError::Runtime {
            program: self.program.clone(),
            problem,
        }
    }
}

/// The last line of the log in `bundle` that is `wanted`, cut at [`MAX_WORDS`].
pub(crate) fn last_words(bundle: &Path, wanted: impl Fn(&str) -> bool) -> Option<String> {
    let log = fs::read_to_string(bundle.join("log")).ok()?;
    let line = log.lines().rev().find(|line| wanted(line))?.trim();
    let end = (0..=line.len().min(MAX_WORDS)).rev();
    let end = end.into_iter().find(|end| line.is_char_boundary(*end))?;
    Some(line[..end].to_owned())
}

/// A handle of a process.
pub(crate) fn open(pid: u32) -> Result<OwnedFd, SandboxError> {
    let raw = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidInput);
    raw.map_err(io::Error::from)
        .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?))
        .map_err(SandboxError::system("cannot watch the process"))
}
