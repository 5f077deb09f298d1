//! Sandboxes with a kernel of their own: gVisor's, or that of a virtual machine. An OCI runtime
//! makes them ahead, with hob's own executable as the first process; it waits for the program.
//!
//! All processes of the runtime are in the cage's cgroup: one signal ends the kernel with whatever
//! runs under it.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    sync::{Mutex, atomic::AtomicBool},
    time::{Duration, Instant},
};

use hob_model::{Isolation, sandbox::SandboxLevel};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat},
    io::Errno,
    process::geteuid,
};

use super::{OneShot, OneShotSpec, Program, native};
use crate::{
    Able, Cage, CageLimits, CageRecord, Mechanism, Sandbox, SandboxError,
    birth::boot_id,
    capabilities::is_privileged,
    cgroup::Group,
    oci::{self, last_words},
    spec::is_id,
};

mod bundle;
mod first;
mod kvm;
mod launch;
mod order;
mod room;
mod running;
mod runtime;

use order::{Head, Kernel, Word};
use runtime::Runtime;

pub(crate) use launch::run_role_if_asked;
pub(super) use running::Running;

/// Most of a runtime's own words in an error, in bytes.
const MAX_WORDS: usize = 4096;
/// Permission to write for others than the owner.
const FOREIGN_WRITE: u32 = 0o022;

/// The argument that makes hob's executable the first process of a cage.
const PROGRAM: &str = "cage-program";

/// How long a runtime may take to get a cage ready, on a machine that is busy with other things.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// Most lines on stderr until then: a machine that boots may have much to say.
const MAX_LINES: usize = 10_000;
/// How long the first process may take to start a program, its files included.
const START_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Ready {
    // In this order: first all processes end, then their folder goes.
    cage: Cage,
    bundle: Bundle,
    /// The same group as the cage's.
    group: Option<Box<dyn Group>>,
    channel: UnixStream,
    /// Whether the first process has the other end of the channel, which no program has.
    private: bool,
    stdout: OwnedFd,
    stderr: OwnedFd,
    limits: CageLimits,
}

/// A cage's folder.
#[derive(Debug)]
struct Bundle {
    path: PathBuf,
    id: String,
    runtime: Runtime,
}

pub(super) fn able(sandbox: &Sandbox, level: SandboxLevel, runtime: Option<&str>) -> Able {
    match find(sandbox, level, runtime) {
        Ok(_) => Able::Yes,
        Err(able) => able,
    }
}

/// The runtime, where it can make cages that are limited and nobody's but root's.
fn find(sandbox: &Sandbox, level: SandboxLevel, runtime: Option<&str>) -> Result<Runtime, Able> {
    let runtime = Runtime::find(level, runtime)?;
    if let no @ Able::No { .. } = native::able_limits(sandbox) {
        return Err(no);
    }
    if !is_privileged() {
        return Err(Able::no(
            format!("level `{level}` needs root"),
            "run hob as root, or use level `container`",
        ));
    }
    Ok(runtime)
}

pub(super) fn prepare(sandbox: &Sandbox, spec: OneShotSpec) -> Result<Ready, SandboxError> {
    native::check_spec(&spec)?;
    let runtime = find(sandbox, spec.level, spec.runtime.as_deref()).map_err(unable)?;
    let bundle = Bundle {
        path: folder(sandbox, &spec.id),
        id: spec.id.clone(),
        runtime,
    };
    let program = bundle::executable(&sandbox.config.helper);
    program
        .and_then(|program| {
            bundle::write(&bundle.path, &program, &sandbox.bare.get(), &spec.limits)
        })
        .map_err(SandboxError::io("cannot write the bundle", &bundle.path))?;
    let (cage, channel, stdout, stderr) = launch::launch(sandbox, &spec, &bundle)?;
    let mut ready = Ready {
        cage,
        bundle,
        group: sandbox.tree.open(&spec.id),
        channel,
        private: false,
        stdout,
        stderr,
        limits: spec.limits,
    };
    ready.attend(spec.level)?;
    Ok(ready)
}

/// Where the bundle of a cage is.
pub(super) fn folder(sandbox: &Sandbox, id: &str) -> PathBuf {
    sandbox.config.state.join(oci::BUNDLES).join(id)
}

fn unable(able: Able) -> SandboxError {
    match able {
        Able::Yes => SandboxError::Spec("nothing is missing".into()),
        Able::No { why, cure } => SandboxError::UnableLevel { why, cure },
    }
}

// === impl Ready ===

impl Ready {
    pub(super) fn record(&self) -> CageRecord {
        self.bundle.record(&self.cage)
    }

    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        self.cage.pidfd()
    }

    /// Waits for the first process, and looks at the kernel that it is under.
    fn attend(&mut self, level: SandboxLevel) -> Result<(), SandboxError> {
        let word = self.first_word();
        match word.map_err(SandboxError::system("cannot listen to the cage"))? {
            Some(Word::Ready(kernel)) if kernel.is(&Kernel::own()) => {
                Err(self.bundle.refused(format!(
                    "gives its cage the host's kernel, which is weaker than level `{level}`: set \
                     `runtime` to another program"
                )))
            }
            // What a program says on stderr could not be told from the first process's words.
            Some(Word::Ready(_)) if level == SandboxLevel::Gvisor && !self.private => Err(self
                .bundle
                .refused("does not pass its stdin on as it is: set `runtime` to gVisor's".into())),
            Some(Word::Ready(_)) => Ok(()),
            Some(_) => Err(self.bundle.refused("is not ready".into())),
            None => Err(self.bundle.refused(self.last_words())),
        }
    }

    /// From the channel where the runtime passes that on, else among all that is on stderr.
    fn first_word(&mut self) -> io::Result<Option<Word>> {
        let deadline = Instant::now() + READY_TIMEOUT;
        for _ in 0..MAX_LINES {
            let (channel, stderr) = (self.channel.as_fd(), self.stderr.as_fd());
            let left = deadline.saturating_duration_since(Instant::now());
            let mut both = [channel, stderr].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            rustix::io::retry_on_intr(|| poll(&mut both, Some(&left)))?;
            self.private = !both[0].revents().is_empty();
            if self.private {
                return Word::hear(channel, deadline);
            }
            let Some(line) = order::line(stderr, deadline)? else {
                return Ok(None);
            };
            if let Some(word) = Word::parse(&line) {
                return Ok(Some(word));
            }
        }
        Ok(None)
    }

    fn last_words(&self) -> String {
        let logged = last_words(&self.bundle.path, |line| !line.is_empty());
        let mut said = vec![0; MAX_WORDS];
        let length = rustix::io::read(&self.stderr, &mut said).unwrap_or(0);
        let said = String::from_utf8_lossy(&said[..length]);
        let said = said.lines().last().map(str::to_owned);
        said.or(logged)
            .unwrap_or_else(|| format!("is not ready after {} s", READY_TIMEOUT.as_secs()))
    }

    pub(super) fn start(self, program: &Program) -> Result<OneShot, SandboxError> {
        native::check_program(program, &self.limits, native::MAX_INODES)?;
        if let Some(group) = &self.group {
            let limits = self.bundle.runtime.limits(&program.limits);
            let limited = group.limit(&limits);
            limited.map_err(SandboxError::system("cannot limit a cgroup"))?;
        }
        let deadline = Instant::now() + START_TIMEOUT;
        let sent = self
            .channel
            .set_write_timeout(Some(START_TIMEOUT))
            .and_then(|()| Head::of(program, self.limits.tmp).send(program, &self.channel));
        sent.map_err(SandboxError::system("cannot send the program to the cage"))?;
        if self.private {
            let word = Word::hear(self.channel.as_fd(), deadline);
            match word.map_err(SandboxError::system("cannot listen to the cage"))? {
                Some(Word::Started) => {}
                Some(Word::Failed(failure)) => {
                    let name = program.argv.first().map_or("", String::as_str);
                    return Err(native::explain(&self.bundle.id, name, failure));
                }
                Some(Word::Ready(_) | Word::Ended(_)) | None => {
                    return Err(self.bundle.refused("ended before the program ran".into()));
                }
            }
        }
        let Self {
            cage,
            bundle,
            group,
            channel,
            private,
            stdout,
            stderr,
            limits: _,
        } = self;
        let spent = group.as_ref().and_then(|group| group.cpu_time());
        Ok(OneShot {
            running: super::Running::Oci(Box::new(Running {
                cage,
                bundle,
                group,
                channel,
                private,
                limits: program.limits,
                spent: spent.unwrap_or_default(),
                killed: AtomicBool::new(false),
                end: Mutex::new(None),
            })),
            stdout: Some(stdout),
            stderr: Some(stderr),
        })
    }
}

// === impl Bundle ===

impl Bundle {
    fn record(&self, cage: &Cage) -> CageRecord {
        CageRecord {
            isolation: Isolation::Container,
            mechanism: Mechanism::Oci(self.runtime.program.to_string_lossy().into_owned()),
            bundle: Some(self.path.clone()),
            ..cage.record()
        }
    }

    fn refused(&self, problem: String) -> SandboxError {
        SandboxError::Runtime {
            program: self.runtime.program.display().to_string(),
            problem,
        }
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        if let Err(error) = self.runtime.forget(&self.path, &self.id) {
            tracing::warn!(cage = %self.id, %error, "cannot remove a bundle");
        }
    }
}

/// Removes what another hob left on disk of a cage whose processes have ended. True when there was
/// something.
///
/// A record is only text that somebody wrote: whatever stands in it, nothing but a bundle's folder
/// is removed that hob's own user has made, and no program is run.
pub(super) fn remove_bundle(sandbox: &Sandbox, record: &CageRecord) -> Result<bool, SandboxError> {
    let Some(bundle) = &record.bundle else {
        return Ok(false);
    };
    if record.boot.is_empty() || record.boot != boot_id() {
        return Ok(false);
    }
    let named = is_id(&record.id) && bundle.ends_with(Path::new(oci::BUNDLES).join(&record.id));
    let is_own = bundle.starts_with(&sandbox.config.state);
    if !named || is_own {
        return Ok(false);
    }
    remove_named(bundle, &record.id).map_err(SandboxError::io("cannot remove the bundle", bundle))
}

/// Removes the bundle `id` at `bundle`, if there is one on a way without links, in a folder that
/// nobody but hob's own user can change: what is looked at is what is removed.
fn remove_named(bundle: &Path, id: &str) -> io::Result<bool> {
    let Some(parent) = bundle.parent().filter(|parent| parent.is_absolute()) else {
        return Ok(false);
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let way = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let parent = match openat2(CWD, parent, flags, Mode::empty(), way) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => return Ok(false),
        opened => opened?,
    };
    let is_ours = |stat: &Stat| {
        stat.st_uid == geteuid().as_raw()
            && stat.st_mode & FOREIGN_WRITE == 0
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
    };
    if !is_ours(&fstat(&parent)?) {
        return Ok(false);
    }
    match statat(&parent, id, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        stat if !is_ours(&stat?) => return Ok(false),
        _ => {}
    }
    let bundle = Path::new("/proc/self/fd")
        .join(parent.as_raw_fd().to_string())
        .join(id);
    fs::remove_dir_all(bundle)?;
    Ok(true)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A bundle `one` in the folder `name`.
    fn bundle(above: &Path, name: &str) -> PathBuf {
        let bundle = above.join(name).join(oci::BUNDLES).join("one");
        fs::create_dir_all(bundle.join("root")).unwrap();
        fs::write(bundle.join("config.json"), "{}").unwrap();
        bundle
    }

    #[test]
    fn nothing_is_removed_behind_a_link_or_in_a_folder_of_another_user() {
        let above = tempfile::tempdir().unwrap();
        let above = above.path();
        let good = bundle(above, "good");
        symlink(above.join("good"), above.join("link")).unwrap();
        fs::create_dir(above.join("inner")).unwrap();
        symlink(good.parent().unwrap(), above.join("inner/oci")).unwrap();
        fs::create_dir_all(above.join("last/oci")).unwrap();
        symlink(&good, above.join("last/oci/one")).unwrap();
        let mut traps = vec![
            above.join("link/oci/one"),
            above.join("inner/oci/one"),
            above.join("last/oci/one"),
            above.join("none/oci/one"),
            PathBuf::from("oci/one"),
        ];
        let open = bundle(above, "open");
        let mode = fs::Permissions::from_mode(0o777);
        fs::set_permissions(open.parent().unwrap(), mode).unwrap();
        traps.push(open.clone());
        if geteuid().is_root() {
            let foreign = bundle(above, "foreign");
            chown(foreign.parent().unwrap(), Some(61_235), None).unwrap();
            traps.push(foreign);
        }
        for trap in &traps {
            assert!(!remove_named(trap, "one").unwrap(), "{}", trap.display());
        }
        assert!(good.join("root").is_dir() && open.join("root").is_dir());
        assert!(remove_named(&good, "one").unwrap());
        assert!(!good.exists() && good.parent().unwrap().is_dir());
        assert!(!remove_named(&good, "one").unwrap());
    }
}
