use std::{
    collections::HashMap,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use hob_testkit::Hob;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use serde_json::Value;
use tempfile::TempDir;

use super::{chronicle::Chronicle, functions::Function, load::Load, sample::Span};
use crate::{dice::Dice, run::Run};

/// A killed process that has not ended by then never will.
const END_TIMEOUT: Timespec = Timespec {
    tv_sec: 10,
    tv_nsec: 0,
};
/// How soon a replica is replaced, back-off and a busy machine included.
const REPLACED: Duration = Duration::from_secs(60);

/// A hob under load, and what was done to it.
pub(super) struct Stage<'r> {
    pub(super) run: &'r Run,
    pub(super) dice: Dice,
    pub(super) functions: Vec<Function>,
    pub(super) chronicle: Chronicle,
    revisions: HashMap<&'static str, u32>,
    // Dropped in this order: no call and no server must outlive what it needs.
    pub(super) load: Option<Load>,
    pub(super) hob: Hob,
    folder: TempDir,
}

impl<'r> Stage<'r> {
    /// Deploys all functions; nothing is called yet.
    pub(super) fn set(run: &'r Run, functions: Vec<Function>, hob: Hob) -> Result<Self> {
        let mut stage = Self {
            run,
            dice: Dice::new(run.seed),
            functions,
            chronicle: Chronicle::default(),
            revisions: HashMap::new(),
            load: None,
            hob,
            folder: tempfile::tempdir()?,
        };
        for function in stage.functions.clone() {
            stage.deploy(function)?;
        }
        Ok(stage)
    }

    /// Deploys the next revision of a function.
    pub(super) fn deploy(&mut self, function: Function) -> Result<()> {
        let revision = self.revisions.entry(function.name).or_default();
        *revision += 1;
        let revision = *revision;
        let folder = function.write(self.folder.path(), revision)?;
        self.chronicle.deploys(function, revision);
        self.order(&["deploy", &folder.to_string_lossy()])?;
        self.chronicle.deployed(function, revision);
        Ok(())
    }

    /// Has hob do something by its command line.
    pub(super) fn order(&self, args: &[&str]) -> Result<String> {
        self.run.stop.check()?;
        let outcome = self.hob.cli(args);
        if outcome.code != 0 {
            bail!("`hob {}` failed: {}", args.join(" "), outcome.stderr.trim());
        }
        Ok(outcome.stdout)
    }

    /// Lets calls go on for a while.
    pub(super) fn go_on(&self, time: Duration) -> Result<()> {
        let load = self.load.as_ref().context("nothing is called")?;
        load.go_on(time, &self.run.stop)
    }

    /// Waits until so many replicas of the function take calls; returns their processes.
    pub(super) fn ready(&self, function: Function, count: usize) -> Result<Vec<i32>> {
        let mut ready = Vec::new();
        let what = format!("{count} replicas of {} are ready", function.name);
        let wait = self.run.stop.wait(REPLACED, &what, || {
            ready = self.processes(function).unwrap_or_default();
            ready.len() == count
        });
        wait.map(|()| ready)
    }

    fn processes(&self, function: Function) -> Result<Vec<i32>> {
        let said = self.order(&["describe", function.name, "-o", "json"])?;
        let detail: Value = serde_json::from_str(&said)?;
        let instances = detail["instances"].as_array().context("no instances")?;
        let ready = instances.iter().filter(|one| one["state"] == "ready");
        let pids = ready.filter_map(|one| i32::try_from(one["pid"].as_i64()?).ok());
        Ok(pids.collect())
    }

    /// Kills a replica, and writes down when.
    pub(super) fn kill_replica(&mut self, function: Function, process: i32) -> Result<()> {
        let pid = Pid::from_raw(process).context("no process")?;
        // It holds the process: a number could be somebody else's by now.
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).context("a replica is gone")?;
        let start = Instant::now();
        pidfd_send_signal(&pidfd, Signal::KILL).context("a replica cannot be killed")?;
        let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
        if poll(&mut ended, Some(&END_TIMEOUT))? == 0 {
            bail!("process {process} does not end");
        }
        let end = Instant::now();
        self.chronicle
            .replica_kills
            .push((function, Span { start, end }));
        Ok(())
    }

    /// Kills hob, writes down when, and starts it again.
    pub(super) fn kill_hob(&mut self) {
        let start = Instant::now();
        self.hob.kill();
        let end = Instant::now();
        self.chronicle.hob_kills.push(Span { start, end });
        self.hob.restart();
    }

    /// Bytes that the logs of a function take on the disk.
    pub(super) fn log_size(&self, function: Function) -> Result<u64> {
        let folder = self.log_folder(function);
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        let sizes = entries.map(|entry| Ok(entry?.metadata()?.len()));
        sizes.sum()
    }

    fn log_folder(&self, function: Function) -> PathBuf {
        self.hob.data().join("logs/openfaas-fn").join(function.name)
    }
}
