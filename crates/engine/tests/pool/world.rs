//! A pool in a folder of its own, and runs in it.

use std::{
    env, fs,
    future::Future,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use hob_engine::pool::{LocalPool, LocalPoolConfig};
use hob_model::{
    EndReason,
    port::{RunError, Sandboxes, StartedRun},
    sandbox::{RunEnd, RunEvent, RunLimits, RunOrder, SandboxLevel},
};
use hob_sandbox::{Sandbox, SandboxConfig};

/// Longest wait for anything that should happen by itself.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A pool. Close it with [`World::end`].
pub(crate) struct World {
    pub(crate) pool: Arc<LocalPool>,
    pub(crate) sandbox: Arc<Sandbox>,
    /// Gone with the last one in it.
    _folder: Arc<tempfile::TempDir>,
    pub(crate) run: PathBuf,
}

/// What came of a run.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) end: Option<RunEnd>,
}

// === impl World ===

impl World {
    pub(crate) fn new(size: usize) -> Self {
        Self::with(size, |_| {})
    }

    pub(crate) fn with(size: usize, change: impl FnOnce(&mut LocalPoolConfig)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let run = folder.path().join("hob-one");
        Self::at(folder, run, size, change)
    }

    /// In this run folder.
    pub(crate) fn at(
        folder: Arc<tempfile::TempDir>,
        run: PathBuf,
        size: usize,
        change: impl FnOnce(&mut LocalPoolConfig),
    ) -> Self {
        let sandbox = sandbox(&run, &env::current_exe().unwrap());
        let mut config = LocalPoolConfig::new(run.clone());
        config.size = size;
        change(&mut config);
        let pool = LocalPool::new(config, Arc::clone(&sandbox)).unwrap();
        Self {
            pool,
            sandbox,
            _folder: folder,
            run,
        }
    }

    pub(crate) async fn start(&self, script: &str) -> Result<StartedRun, RunError> {
        self.pool.run(bash(script)).await
    }

    pub(crate) async fn ran(&self, order: RunOrder) -> Ran {
        let run = self.pool.run(order).await.unwrap();
        read(run).await
    }

    pub(crate) async fn bash(&self, script: &str) -> Ran {
        self.ran(bash(script)).await
    }

    pub(crate) async fn limited(&self, script: &str, limits: RunLimits) -> Ran {
        let order = RunOrder {
            limits,
            ..bash(script)
        };
        self.ran(order).await
    }

    pub(crate) fn leases(&self) -> Vec<String> {
        entries(&self.run.join("leases"))
    }

    /// Cgroups of sandboxes, whether used or not.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let folders = &self.sandbox.capabilities().cgroup.folders;
        folders
            .iter()
            .flat_map(|folder| subfolders(folder))
            .collect()
    }

    /// Processes of the sandbox `worker`.
    pub(crate) fn processes(&self, worker: &str) -> Vec<String> {
        let folders = &self.sandbox.capabilities().cgroup.folders;
        let files = folders
            .iter()
            .map(|folder| folder.join(worker).join("cgroup.procs"));
        let texts = files.filter_map(|file| fs::read_to_string(file).ok());
        let mut pids: Vec<_> = texts
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        pids.sort();
        pids.dedup();
        pids
    }

    /// Waits until all sandboxes that may be there are there, and wait.
    pub(crate) async fn is_full(&self) {
        eventually("all sandboxes are ready", async || {
            let standing = self.pool.standing();
            standing.ready == standing.size && standing.leased == 0
        })
        .await;
    }

    /// Closes the pool and looks for what is left.
    pub(crate) async fn end(self) {
        self.pool.close().await;
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
        assert!(!self.run.join("leases").exists());
    }
}

// === impl Ran ===

impl Ran {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn end(&self) -> &RunEnd {
        self.end.as_ref().expect("it tells how it ended")
    }

    pub(crate) fn reason(&self) -> EndReason {
        self.end().end.reason
    }
}

pub(crate) fn sandbox(run: &Path, helper: &Path) -> Arc<Sandbox> {
    static SANDBOXES: AtomicUsize = AtomicUsize::new(0);
    let number = SANDBOXES.fetch_add(1, Ordering::Relaxed);
    let sandbox = Sandbox::new(SandboxConfig {
        helper: helper.to_owned(),
        helper_args: vec!["cage-init".into()],
        cgroup_name: format!("hob-pool-test-{}-{number}", std::process::id()),
        state: run.join("sandbox"),
    });
    Arc::new(sandbox.unwrap())
}

/// Whether there can be a pool here. In CI there has to be.
pub(crate) fn able() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let sandbox = sandbox(folder.path(), Path::new("/proc/self/exe"));
    let able = sandbox.able_oneshot(SandboxLevel::Container, None);
    let line = format!("NOT TESTED: no sandboxes here: {able:?}");
    assert!(
        able.is_able() || !env::var("CI").is_ok_and(|ci| ci == "true"),
        "{line}"
    );
    if !able.is_able() {
        println!("{line}");
    }
    able.is_able()
}

pub(crate) fn bash(script: &str) -> RunOrder {
    RunOrder {
        caller: "somebody".into(),
        language: "bash".into(),
        script: script.into(),
        ..RunOrder::default()
    }
}

pub(crate) fn millis(millis: u64) -> Option<hob_model::Timespan> {
    Some(hob_model::Timespan(Duration::from_millis(millis)))
}

pub(crate) async fn read(run: StartedRun) -> Ran {
    let mut ran = Ran::default();
    let mut events = run.events;
    while let Some(event) = events.next().await {
        assert!(ran.end.is_none(), "nothing comes after the end");
        match event {
            RunEvent::Stdout(bytes) => ran.stdout.extend(bytes),
            RunEvent::Stderr(bytes) => ran.stderr.extend(bytes),
            RunEvent::End(end) => ran.end = Some(end),
        }
    }
    ran
}

/// Reads until it has said so much.
pub(crate) async fn first_line(run: &mut StartedRun) -> String {
    let mut text = Vec::new();
    while !text.contains(&b'\n') {
        match run.events.next().await {
            Some(RunEvent::Stdout(bytes)) => text.extend(bytes),
            other => panic!("not a line: {other:?}"),
        }
    }
    String::from_utf8(text).unwrap().trim().to_owned()
}

/// Runs a test.
pub(crate) fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(test);
}

/// Waits until `condition` holds; fails the test if it does not in time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn subfolders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}
