//! Running a stranger's program to its end.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use hob_model::sandbox::SandboxLevel;
use hob_sandbox::{
    BOX, CageLimits, OneShot, OneShotEnd, OneShotSpec, Program, ReadyCage, SandboxError, Usage,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::yard::{PATIENCE, Yard, skip};

/// What a spec of these tests allows.
pub(crate) const LIMITS: CageLimits = CageLimits {
    memory: 256 << 20,
    cpu_millis: 1000,
    pids: 64,
    tmp: 16 << 20,
    files: 256,
};

/// Host id of the programs of these tests.
pub(crate) const UID: u32 = 61_234;

/// What came of a program.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: OneShotEnd,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) usage: Usage,
}

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

/// Whether strangers' programs can be caged here. In CI they have to.
pub(crate) fn able(yard: &Yard) -> bool {
    let able = yard.sandbox().able_oneshot(SandboxLevel::Container, None);
    able.is_able() || skip(&format!("no one-shot cages: {able:?}"))
}

pub(crate) fn spec(id: &str) -> OneShotSpec {
    OneShotSpec {
        id: id.into(),
        level: SandboxLevel::Container,
        runtime: None,
        uid: UID,
        limits: LIMITS,
    }
}

pub(crate) fn program(argv: &[&str]) -> Program {
    Program {
        argv: argv.iter().map(|word| (*word).to_owned()).collect(),
        env: vec![
            ("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()),
            ("HOME".into(), BOX.into()),
        ],
        files: Vec::new(),
        stdin: Vec::new(),
        limits: LIMITS,
    }
}

pub(crate) fn prepare(yard: &Yard, id: &str) -> ReadyCage {
    let ready = yard.sandbox().prepare(spec(id));
    ready.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn start(yard: &Yard, program: &Program) -> OneShot {
    let started = prepare(yard, "one").start(program);
    started.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn refusal(yard: &Yard, program: &Program) -> SandboxError {
    let started = prepare(yard, "one").start(program);
    started.map(|_| ()).expect_err("must be refused")
}

pub(crate) fn run(yard: &Yard, program: &Program) -> Ran {
    finish(start(yard, program))
}

/// What bash makes of `script`.
pub(crate) fn bash(yard: &Yard, script: &str) -> Ran {
    run(yard, &program(&["bash", "-c", script]))
}

/// Reads all that it writes and waits for its end.
pub(crate) fn finish(mut running: OneShot) -> Ran {
    let streams = [running.stdout.take(), running.stderr.take()];
    let [stdout, stderr] = read_all(streams.map(Option::unwrap));
    let end = wait(&running);
    Ran {
        end,
        stdout,
        stderr,
        usage: running.usage(),
    }
}

/// Waits until it has ended, and tells how.
pub(crate) fn wait(running: &OneShot) -> OneShotEnd {
    let patience = Timespec::try_from(PATIENCE).unwrap();
    loop {
        let mut news = [PollFd::from_borrowed_fd(running.pidfd(), PollFlags::IN)];
        assert_eq!(poll(&mut news, Some(&patience)), Ok(1), "never ends");
        if let Some(end) = running.try_end().unwrap() {
            return end;
        }
    }
}

fn read_all(streams: [OwnedFd; 2]) -> [Vec<u8>; 2] {
    let deadline = Instant::now() + PATIENCE;
    let mut texts = [Vec::new(), Vec::new()];
    let mut open: Vec<(usize, File)> = streams.map(File::from).into_iter().enumerate().collect();
    while !open.is_empty() {
        assert!(Instant::now() < deadline, "its output never ends");
        let mut polled: Vec<PollFd<'_>> = open
            .iter()
            .map(|(_, file)| PollFd::from_borrowed_fd(file.as_fd(), PollFlags::IN))
            .collect();
        poll(&mut polled, Some(&Timespec::try_from(PATIENCE).unwrap())).unwrap();
        open.retain_mut(|(index, file)| {
            let mut bytes = [0; 65_536];
            loop {
                match file.read(&mut bytes) {
                    Ok(0) => return false,
                    Ok(count) => texts[*index].extend_from_slice(&bytes[..count]),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    texts
}
