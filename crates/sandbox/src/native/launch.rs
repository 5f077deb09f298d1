//! The daemon's side: starting helpers ahead of their use, and giving them their plan.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{
    channel,
    helper::FUNCTION,
    plan::{Failure, Plan, Report},
};
use crate::{
    SandboxConfig,
    cgroup::{self, Group, Tree},
};

/// How long the building of a cage may take, on a machine that is busy with other things.
pub(crate) const BUILD_TIMEOUT: Duration = Duration::from_secs(20);

/// A helper that waits for its plan, inside the cage's cgroups where those can be joined ahead.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    channel: OwnedFd,
    group: Option<Box<dyn Group>>,
}

/// The first process of a cage in which the program runs.
#[derive(Debug)]
pub(crate) struct First {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) group: Option<Box<dyn Group>>,
}

// === impl Helper ===

impl Helper {
    /// Starts a helper and does not wait for it. With cgroup version 1, moving a process into a
    /// group makes the kernel wait for all processors to pass a quiet point, which takes up to
    /// some ten milliseconds; so the helper moves itself, before it is needed.
    pub(crate) fn start(config: &SandboxConfig, tree: &Tree, name: &str) -> io::Result<Self> {
        let group = if let Tree::V1(_) = tree {
            tree.create(name)?
        } else {
            None
        };
        let joins = group.as_ref().map(|group| group.folders());
        Self::within(config, group, joins.unwrap_or_default())
    }

    /// The same for a group that is made already, with the folders that it is to move itself to.
    pub(crate) fn within(
        config: &SandboxConfig,
        group: Option<Box<dyn Group>>,
        joins: Vec<PathBuf>,
    ) -> io::Result<Self> {
        // Not `cgroup.procs`: for one thread that moves itself, the kernel need not hold up every
        // fork and every end of a process on the machine, which takes it some milliseconds.
        let joins = joins.into_iter().map(|folder| folder.join("tasks"));
        match spawn(&config.helper, &config.helper_args, joins) {
            Ok((child, channel)) => Ok(Self {
                child,
                channel,
                group,
            }),
            Err(error) => {
                discard(group);
                Err(error)
            }
        }
    }

    /// Names the group after the cage, once the helper is in it; makes it where that could not
    /// be done ahead.
    pub(crate) fn adopt(&mut self, tree: &Tree, id: &str) -> io::Result<Option<&dyn Group>> {
        self.ready()
            .map_err(|failure| io::Error::other(failure.to_string()))?;
        match &mut self.group {
            Some(group) => group.rename(id)?,
            None => self.group = tree.create(id)?,
        }
        Ok(self.group.as_deref())
    }

    /// Waits until it is in its cgroups and takes a plan.
    pub(crate) fn ready(&self) -> Result<(), Failure> {
        match next_report(&self.channel, Instant::now() + BUILD_TIMEOUT, &mut None)? {
            Some((Report::Ready, _)) => Ok(()),
            Some((Report::Failed(failure), _)) => Err(failure),
            Some((Report::Started { .. } | Report::Built, _)) | None => {
                Err(Failure::at("run the helper")(
                    "it ended before it was ready",
                ))
            }
        }
    }

    /// Hands over the plan. An error means that the helper has gone.
    pub(crate) fn order(&self, plan: &Plan, output: &File, filter: &OwnedFd) -> io::Result<()> {
        let plan = memory_file("hob-plan", &serde_json::to_vec(plan)?)?;
        self.send(FUNCTION, &[plan.as_fd(), output.as_fd(), filter.as_fd()])
    }

    pub(crate) fn send(&self, words: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        channel::send(&self.channel, words, fds)
    }

    /// Waits until the program runs.
    pub(crate) fn finish(self) -> Result<First, Failure> {
        self.follow(Until::Exec)
    }

    /// Waits until a one-shot cage stands, and returns the channel to it as well.
    pub(crate) fn built(self) -> Result<(First, OwnedFd), Failure> {
        let channel = self.channel.try_clone();
        let channel = channel.map_err(Failure::at("keep the channel"))?;
        Ok((self.follow(Until::Built)?, channel))
    }

    fn follow(mut self, until: Until) -> Result<First, Failure> {
        let (pid, pidfd) = first_process(&self.channel, until)?;
        // It exits right after its report.
        let _ = self.child.wait();
        Ok(First {
            pid,
            pidfd,
            group: self.group.take(),
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        // After `finish` it has been waited for, and both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
        discard(self.group.take());
    }
}

/// Removes the group of a cage that did not come to be.
fn discard(group: Option<Box<dyn Group>>) {
    if let Some(group) = group
        && let Err(error) = cgroup::remove(&*group)
    {
        tracing::warn!(?group, %error, "cannot remove a cgroup");
    }
}

/// The standard library starts programs by `posix_spawn`, which does not fork this process.
fn spawn(
    helper: &Path,
    args: &[impl AsRef<OsStr>],
    joins: impl Iterator<Item = PathBuf>,
) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    let mut command = Command::new(helper);
    command.args(args).args(joins).env_clear();
    command
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok((command.spawn()?, ours))
}

/// A file in memory that a descriptor can hand over.
pub(crate) fn memory_file(name: &str, bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    std::os::unix::fs::FileExt::write_all_at(&File::from(fd.try_clone()?), bytes, 0)?;
    Ok(fd)
}

/// Which report is the last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// None: the channel closes by the exec of the program.
    Exec,
    /// That a one-shot cage stands. Before it, the channel must not close.
    Built,
}

fn first_process(channel: &OwnedFd, until: Until) -> Result<(u32, OwnedFd), Failure> {
    let deadline = Instant::now() + BUILD_TIMEOUT;
    let (mut first, mut failed, mut done) = (None, None, until == Until::Exec);
    while let Some((report, fd)) = next_report(channel, deadline, &mut first)? {
        match (report, fd) {
            (Report::Started { pid }, Some(pidfd)) => first = Some((pid, pidfd)),
            (Report::Started { .. }, None) | (Report::Ready, _) => {}
            (Report::Failed(failure), _) => failed = Some(failure),
            (Report::Built, _) => done = true,
        }
        if until == Until::Built && done && first.is_some() {
            break;
        }
    }
    match (first, failed) {
        (Some(first), None) if done => Ok(first),
        (first, failed) => {
            if let Some((_, pidfd)) = first {
                end(&pidfd);
            }
            Err(failed.unwrap_or_else(|| Failure::at("run the helper")("it ended without a word")))
        }
    }
}

type Answer = Option<(Report, Option<OwnedFd>)>;

pub(crate) fn next_report(
    channel: &OwnedFd,
    deadline: Instant,
    first: &mut Option<(u32, OwnedFd)>,
) -> Result<Answer, Failure> {
    if !readable(
        channel.as_fd(),
        deadline.saturating_duration_since(Instant::now()),
    )
    .map_err(Failure::at("wait"))?
    {
        if let Some((_, pidfd)) = first.take() {
            end(&pidfd);
        }
        return Err(Failure::at("run the helper")(format!(
            "not done after {} s",
            BUILD_TIMEOUT.as_secs()
        )));
    }
    let message = channel::receive(channel).map_err(Failure::at("listen to the helper"))?;
    let Some(message) = message else {
        return Ok(None);
    };
    let report =
        serde_json::from_slice(&message.bytes).map_err(Failure::at("understand the helper"))?;
    Ok(Some((report, message.fds.into_iter().next())))
}

/// Ends and reaps a first process whose program never ran.
pub(crate) fn end(pidfd: &OwnedFd) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
    let _ = rustix::process::waitid(
        rustix::process::WaitId::PidFd(pidfd.as_fd()),
        rustix::process::WaitIdOptions::EXITED,
    );
}

/// Whether `fd` has something to read, or its other end has gone, within `timeout`.
pub(crate) fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(
            &mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)],
            Some(&left),
        ) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
