//! A `hob worker` of a test's own.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use hob_testkit::wait_until;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::client::{Asked, Reply, ask};
use crate::bench::{HOB, hob, write};

/// Longest wait for its end, after which it is killed.
const STOP: Duration = Duration::from_secs(10);

/// Stopped when it is dropped.
pub(crate) struct Worker {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
}

/// A pair of keys.
pub(crate) struct Keys {
    folder: TempDir,
    pub(crate) public: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("worker.key");
        let made = hob(["keys", "generate", "--out", file.to_str().unwrap()]).run();
        Self {
            folder,
            public: made.ok().trim().to_owned(),
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("worker.key")
    }

    /// What `hob keys sign` prints.
    pub(crate) fn sign(&self, args: &[&str]) -> String {
        let file = self.file();
        let key = ["keys", "sign", "--key", file.to_str().unwrap()];
        let signed = hob(key).args(args).run().ok();
        signed.trim().to_owned()
    }
}

impl Worker {
    /// On any free port, with arguments of its own.
    pub(crate) fn start(folder: &Path, args: &[&str]) -> Self {
        Self::at("127.0.0.1:0", folder, args)
    }

    pub(crate) fn at(address: &str, folder: &Path, args: &[&str]) -> Self {
        let log = folder.join("worker.log");
        let config = folder.join("worker.toml");
        if !config.exists() {
            write(&config, "[sandbox]\npool = { size = 2 }\n");
        }
        let mut command = hob(["worker", "--listen", address])
            .args(["--config", config.to_str().unwrap()])
            .args(args)
            .into_command();
        let out = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(out);
        let mut child = command.spawn().unwrap();
        let mut banner = BufReader::new(child.stdout.take().unwrap()).lines();
        let listening = banner.find_map(|line| {
            let line = line.ok()?;
            Some(line.strip_prefix("listening  http://")?.to_owned())
        });
        let Some(listening) = listening else {
            let _ = child.wait();
            panic!("no worker: {}", fs::read_to_string(&log).unwrap());
        };
        assert!(banner.any(|line| line.unwrap().starts_with("ready")));
        Self {
            child,
            address: listening.parse().unwrap(),
            log,
        }
    }

    /// Asks for a run; `None` when nobody listens.
    pub(crate) fn ask(&self, headers: &[(&str, &str)], script: &str) -> Option<Asked> {
        ask(self.address, "POST /run", headers, script.as_bytes())
    }

    /// The same, with the answer.
    pub(crate) fn run(&self, authorisation: &str, script: &str) -> Reply {
        let headers = [("Authorization", authorisation)];
        self.ask(&headers, script).unwrap().reply().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its own end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let ended = wait_until(STOP, || self.child.try_wait().unwrap().is_some());
        if !ended {
            self.child.kill().unwrap();
        }
        assert!(ended, "the worker does not end: {}", self.log());
        self.child.wait().unwrap()
    }

    pub(crate) fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.send(Signal::TERM);
        self.ended()
    }

    /// Starts it again at its address.
    pub(crate) fn again(&mut self, folder: &Path, args: &[&str]) {
        let again = Self::at(&self.address.to_string(), folder, args);
        drop(std::mem::replace(self, again));
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.send(Signal::TERM);
            let ended = wait_until(STOP, || self.child.try_wait().unwrap().is_some());
            if !ended {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Whether this machine can make sandboxes at all; without, nothing here can be tested.
pub(crate) fn able() -> bool {
    let mut command = hob(["worker", "--listen", "127.0.0.1:0"])
        .args(["--config", "/dev/null"])
        .into_command();
    let said = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = said.spawn().unwrap();
    let mut banner = BufReader::new(child.stdout.take().unwrap()).lines();
    let able = banner.any(|line| line.is_ok_and(|line| line.starts_with("ready")));
    let _ = kill_process(Pid::from_child(&child), Signal::TERM);
    let ended = child.wait_with_output().unwrap();
    if !able {
        let why = String::from_utf8_lossy(&ended.stderr).into_owned();
        let line = format!("NOT TESTED: {HOB} makes no sandboxes here: {why}");
        assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{line}");
        eprintln!("{line}");
    }
    able
}

/// Whether a process of this command line is alive.
pub(crate) fn alive(command: &str) -> bool {
    let entries = fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.into_iter().any(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.trim() == command
    })
}
