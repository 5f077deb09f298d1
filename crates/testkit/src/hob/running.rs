use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, ExitStatus, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Hob, held};
use crate::{cli::forget_settings, eventually::wait_until};

/// Longest wait for a server to come up.
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait for a server to go down, its grace for calls and replicas included.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// The process of a [`Hob`] that is up.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) address: SocketAddr,
    /// Where Prometheus reads, if anywhere.
    pub(super) metrics: Option<SocketAddr>,
    /// Where `<data>/run` led while it ran.
    pub(super) run: PathBuf,
    pub(super) banner: Vec<String>,
}

impl Running {
    /// Or what it said in place of coming up.
    pub(super) fn try_start(hob: &Hob) -> Result<Self, Vec<String>> {
        let mut log = File::options();
        log.create(true).append(true);
        let log = log.open(hob.log_path()).expect("a log file");
        let mut command = match &hob.net {
            Some(net) => net.command(&hob.executable.to_string_lossy()),
            None => held::command(&hob.held, &hob.executable),
        };
        forget_settings(&mut command);
        // As variables, so that a test can put flags above them.
        for (name, purpose) in [("HOB_LISTEN", "calls"), ("HOB_METRICS", "metrics")] {
            if !hob.held.iter().any(|held| held.name == purpose) {
                command.env(name, "127.0.0.1:0");
            }
        }
        command
            .arg("up")
            .args(&hob.args)
            .env("HOB_CONFIG", "/dev/null")
            .env("HOB_DATA", hob.data())
            .envs(hob.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        held::pass(&hob.held, &mut command, &hob.log_path());
        let mut child = command.spawn().expect("the executable starts");
        let lines = lines_of(&mut child);
        let banner = banner(&lines).inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?;
        let url = value_of(&banner, "listening").expect("a line with the address");
        Ok(Self {
            address: address_of(url),
            metrics: value_of(&banner, "metrics").map(address_of),
            run: fs::canonicalize(hob.data().join("run")).expect("a run folder"),
            child,
            banner,
        })
    }

    /// This signal, and SIGKILL when it does not help.
    pub(super) fn end_by(&mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, signal);
        let ended = wait_until(STOP_TIMEOUT, || {
            self.child.try_wait().is_ok_and(|status| status.is_some())
        });
        if !ended {
            let _ = self.child.kill();
        }
        self.child.wait().expect("it can be waited for")
    }

    /// The name of its control groups: both names end with the id of the data directory.
    pub(super) fn cgroup(&self) -> String {
        let name = self.run.file_name().unwrap_or_default().to_string_lossy();
        let id = name.rsplit('-').next().unwrap_or_default();
        format!("hob-{id}")
    }
}

/// The lines of standard output, read to the end so that the server never waits for us.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    thread::spawn(move || {
        for line in stdout.lines().map_while(Result::ok) {
            // Nobody listens after the last line of the banner.
            let _ = sender.send(line);
        }
    });
    lines
}

fn banner(lines: &Receiver<String>) -> Result<Vec<String>, Vec<String>> {
    let deadline = Instant::now() + START_TIMEOUT;
    let mut said = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match lines.recv_timeout(left) {
            Ok(line) => {
                let ready = line.starts_with("ready");
                said.push(line);
                if ready {
                    return Ok(said);
                }
            }
            Err(_) => return Err(said),
        }
    }
}

/// The address in `http://ADDRESS` and `http://ADDRESS/PATH`.
fn address_of(url: &str) -> SocketAddr {
    let address = url.trim_start_matches("http://").split('/').next();
    address.unwrap_or_default().parse().expect("an address")
}

/// What follows `key` in the banner.
pub(super) fn value_of<'a>(banner: &'a [String], key: &str) -> Option<&'a str> {
    let line = banner.iter().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim())
}
