//! Sandboxes with a kernel of their own: gVisor's, or that of a virtual machine. An OCI runtime
//! makes them ahead, with hob's own executable as the first process; it waits for the program.
//!
//! All processes of the runtime are in the cage's cgroup: one signal ends the kernel with whatever
//! runs under it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    path::{Path, PathBuf},
    process::{self, Command},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hob_model::{Isolation, sandbox::SandboxLevel};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use super::{
    OneShot, OneShotEnd, OneShotSpec, Program, Usage,
    native::{self, Ended},
};
use crate::{
    Able, Cage, CageLimits, CageRecord, Mechanism, Sandbox, SandboxError,
    cage::Nature,
    cgroup::{self, Group},
    native::{
        helper,
        launch::{First, readable},
    },
    oci::{self, last_words},
    spec::is_id,
};

mod bundle;
mod first;
mod kvm;
mod order;
mod runtime;

use order::{Head, Kernel, Word};
use runtime::Runtime;

/// The arguments that make hob's executable join a cgroup and become a runtime, and the first
/// process of a cage.
const JOIN: &str = "cage-runtime";
const PROGRAM: &str = "cage-program";
/// Between the files of the cgroup and the runtime's own words.
const END_OF_FILES: &str = "--";

/// How long a runtime may take to get a cage ready, on a machine that is busy with other things.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the first process may take to start a program, its files included.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long what was said last may take to arrive after the runtime's end.
const LAST_WORD_TIMEOUT: Duration = Duration::from_millis(100);
/// Longest line of the first process, in bytes; a machine that boots may write more than one.
const MAX_LINE: usize = 4096;
const MAX_LINES: usize = 1000;

#[derive(Debug)]
pub(super) struct Ready {
    // In this order: first all processes end, then their folder goes.
    cage: Cage,
    bundle: Bundle,
    /// The same group as the cage's.
    group: Option<Box<dyn Group>>,
    channel: UnixStream,
    stdout: OwnedFd,
    stderr: OwnedFd,
    limits: CageLimits,
}

#[derive(Debug)]
pub(super) struct Running {
    cage: Cage,
    bundle: Bundle,
    group: Option<Box<dyn Group>>,
    /// Its end ends the first process.
    channel: UnixStream,
    limits: CageLimits,
    /// Processor time that went into making it.
    spent: Duration,
    killed: AtomicBool,
    end: Mutex<Option<OneShotEnd>>,
}

/// A cage's folder.
#[derive(Debug)]
struct Bundle {
    path: PathBuf,
    id: String,
    runtime: Runtime,
}

pub(super) fn able(_: &Sandbox, level: SandboxLevel, runtime: Option<&str>) -> Able {
    match Runtime::find(level, runtime) {
        Ok(_) => Able::Yes,
        Err(able) => able,
    }
}

pub(super) fn prepare(sandbox: &Sandbox, spec: OneShotSpec) -> Result<Ready, SandboxError> {
    native::check_spec(&spec)?;
    let runtime = Runtime::find(spec.level, spec.runtime.as_deref()).map_err(unable)?;
    let bundle = Bundle {
        path: sandbox.config.state.join(oci::BUNDLES).join(&spec.id),
        id: spec.id.clone(),
        runtime,
    };
    let program = bundle::executable(&sandbox.config.helper);
    program
        .and_then(|program| {
            bundle::write(&bundle.path, &program, &sandbox.bare.get(), &spec.limits)
        })
        .map_err(SandboxError::io("cannot write the bundle", &bundle.path))?;
    let (cage, channel, stdout, stderr) = launch(sandbox, &spec, &bundle)?;
    let ready = Ready {
        cage,
        bundle,
        group: sandbox.tree.open(&spec.id),
        channel,
        stdout,
        stderr,
        limits: spec.limits,
    };
    ready.attend(spec.level)?;
    Ok(ready)
}

fn unable(able: Able) -> SandboxError {
    match able {
        Able::Yes => SandboxError::Spec("nothing is missing".into()),
        Able::No { why, cure } => SandboxError::UnableLevel { why, cure },
    }
}

type Launched = (Cage, UnixStream, OwnedFd, OwnedFd);

/// Starts the runtime in the cage's cgroup, with its end of the channel and of two pipes.
fn launch(
    sandbox: &Sandbox,
    spec: &OneShotSpec,
    bundle: &Bundle,
) -> Result<Launched, SandboxError> {
    let group = sandbox.tree.create(&spec.id);
    let group = group.map_err(SandboxError::system("cannot make a cgroup"))?;
    let mut group = Held(group);
    if let Some(group) = &group.0 {
        let limits = bundle.runtime.limits(&spec.limits);
        let limited = group.limit(&limits);
        limited.map_err(SandboxError::system("cannot limit a cgroup"))?;
    }
    let start = || {
        let (channel, theirs) = UnixStream::pair()?;
        let (stdout, to_stdout) = native::pipe()?;
        let (stderr, to_stderr) = native::pipe()?;
        let folders = group.0.as_ref().map(|group| group.folders());
        let mut command = Command::new(&sandbox.config.helper);
        command.arg(JOIN);
        command.args(
            folders
                .unwrap_or_default()
                .iter()
                .map(|folder| folder.join("cgroup.procs")),
        );
        command.arg(END_OF_FILES).arg(&bundle.runtime.program);
        command.args(bundle.runtime.run(&bundle.path)).arg(&spec.id);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .stdin(OwnedFd::from(theirs))
            .stdout(to_stdout)
            .stderr(to_stderr);
        // The terminal's Ctrl-C is the daemon's.
        command.process_group(0);
        Ok((command.spawn()?, channel, stdout, stderr))
    };
    let started: io::Result<_> = start();
    let (mut child, channel, stdout, stderr) =
        started.map_err(|error| bundle.refused(error.to_string()))?;
    let pidfd = oci::open(child.id()).inspect_err(|_| {
        let _ = child.kill();
        let _ = child.wait();
    })?;
    let first = First {
        pid: child.id(),
        pidfd,
        group: group.0.take(),
    };
    let nature = Nature {
        id: spec.id.clone(),
        // As it looks from here: processes that only the cgroup holds together.
        isolation: Isolation::Process,
        limits: spec.limits,
    };
    Ok((Cage::new(nature, first, None), channel, stdout, stderr))
}

/// A group that is removed, unless somebody takes it.
struct Held(Option<Box<dyn Group>>);

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(group) = &self.0 {
            let _ = cgroup::remove(&**group);
        }
    }
}

// === the executable's other roles ===

/// Becomes a runtime in a cgroup, or the first process of a cage, and never returns; else does
/// nothing.
pub(crate) fn run_role_if_asked(role: &OsStr, args: impl Iterator<Item = OsString>) {
    if role == PROGRAM {
        process::exit(first::run());
    }
    if role == JOIN {
        let problem = become_runtime(args);
        let _ = io::Write::write_all(&mut io::stderr(), format!("{problem}\n").as_bytes());
        process::exit(1);
    }
}

/// Returns only why that did not work.
fn become_runtime(mut args: impl Iterator<Item = OsString>) -> String {
    let files = args.by_ref().take_while(|arg| arg != END_OF_FILES);
    if let Err(failure) = helper::join(files.collect::<Vec<_>>().into_iter()) {
        return failure.to_string();
    }
    match args.next() {
        Some(program) => Command::new(program).args(args).exec().to_string(),
        None => "no runtime is named".into(),
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
    fn attend(&self, level: SandboxLevel) -> Result<(), SandboxError> {
        let ear = match self.bundle.runtime.passes_sockets() {
            true => self.channel.as_fd(),
            false => self.stderr.as_fd(),
        };
        let word = hear(ear, Instant::now() + READY_TIMEOUT);
        match word.map_err(SandboxError::system("cannot listen to the cage"))? {
            Some(Word::Ready(kernel)) if kernel.is(&Kernel::own()) => {
                Err(self.bundle.refused(format!(
                    "gives its cage the host's kernel, which is weaker than level `{level}`: set \
                     `runtime` to another program"
                )))
            }
            Some(Word::Ready(_)) => Ok(()),
            Some(_) => Err(self.bundle.refused("is not ready".into())),
            None => Err(self.bundle.refused(self.last_words())),
        }
    }

    fn last_words(&self) -> String {
        let logged = last_words(&self.bundle.path, |line| !line.is_empty());
        let mut said = vec![0; MAX_LINE];
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
        if self.bundle.runtime.passes_sockets() {
            let word = hear(self.channel.as_fd(), deadline);
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

/// The next word, or `None` when there is to be none. What is no word is passed over.
fn hear(from: BorrowedFd<'_>, deadline: Instant) -> io::Result<Option<Word>> {
    for _ in 0..MAX_LINES {
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            if !readable(from, deadline.saturating_duration_since(Instant::now()))?
                || rustix::io::read(from, &mut byte)? == 0
            {
                return Ok(None);
            }
            if byte[0] == b'\n' || line.len() > MAX_LINE {
                break;
            }
            line.extend(byte);
        }
        if let Some(word) = Word::parse(&line) {
            return Ok(Some(word));
        }
    }
    Ok(None)
}

// === impl Running ===

impl Running {
    /// The channel closes as well when the runtime ends.
    pub(super) fn pidfd(&self) -> BorrowedFd<'_> {
        match self.bundle.runtime.passes_sockets() {
            true => self.channel.as_fd(),
            false => self.cage.pidfd(),
        }
    }

    pub(super) fn kill(&self) {
        self.killed.store(true, Ordering::Relaxed);
        self.end_all();
    }

    pub(super) fn try_end(&self) -> Result<Option<OneShotEnd>, SandboxError> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        if end.is_none() {
            let ended = match self.bundle.runtime.passes_sockets() {
                true => self.told()?,
                false => self.status()?,
            };
            let explain = |ended| {
                let tally = self.group.as_ref().map(|group| group.tally());
                let killed = self.killed.load(Ordering::Relaxed);
                native::explain_end(ended, tally.unwrap_or_default(), &self.limits, killed)
            };
            *end = ended.map(explain);
        }
        Ok(end.clone())
    }

    /// What the first process told; `None` inside when it cannot any more.
    fn told(&self) -> Result<Option<Option<Ended>>, SandboxError> {
        let wrong = "cannot listen to the cage";
        let news = readable(self.channel.as_fd(), Duration::ZERO);
        if !news.map_err(SandboxError::system(wrong))? {
            return Ok(None);
        }
        let word = hear(self.channel.as_fd(), Instant::now() + LAST_WORD_TIMEOUT);
        // Its kernel would take a tenth of a second to end by itself, and keep the pipes open.
        self.end_all();
        Ok(Some(match word.map_err(SandboxError::system(wrong))? {
            Some(Word::Ended(ended)) => Some(ended),
            Some(Word::Ready(_) | Word::Started | Word::Failed(_)) | None => None,
        }))
    }

    /// All that a virtual machine tells is a number. Inside none when it was killed.
    fn status(&self) -> Result<Option<Option<Ended>>, SandboxError> {
        // Leaves it to the cage to reap it.
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::PidFd(self.cage.pidfd()), look)
            .ok()
            .flatten();
        let ended = self.cage.try_wait()?.is_some();
        let code = status.and_then(|status| status.exit_status());
        Ok(ended.then(|| code.map(Ended::Exited)))
    }

    /// Nobody in the cage is spared, its kernel neither.
    fn end_all(&self) {
        if let Some(group) = &self.group
            && let Err(error) = group.end()
        {
            tracing::warn!(cage = %self.bundle.id, %error, "cannot hurry the end of a cage");
        }
        self.cage.kill();
    }

    pub(super) fn usage(&self) -> Usage {
        let group = self.group.as_ref();
        let used = group.and_then(|group| group.cpu_time());
        Usage {
            cpu: used.map(|used| used.saturating_sub(self.spent)),
            memory: group.and_then(|group| group.peak()),
        }
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
/// is removed, and no program is run.
pub(super) fn remove_bundle(sandbox: &Sandbox, record: &CageRecord) -> Result<bool, SandboxError> {
    let Some(bundle) = &record.bundle else {
        return Ok(false);
    };
    let named = is_id(&record.id) && bundle.ends_with(Path::new(oci::BUNDLES).join(&record.id));
    let is_own = bundle.starts_with(&sandbox.config.state);
    if !named || is_own || !bundle.join(bundle::CONFIG).is_file() {
        return Ok(false);
    }
    fs::remove_dir_all(bundle).map_err(SandboxError::io("cannot remove the bundle", bundle))?;
    Ok(true)
}
