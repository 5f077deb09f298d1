use std::{path::PathBuf, time::Duration};

use futures_util::StreamExt;
use hob_engine::pool::{
    Clock, FlyConfig, FlyPool, FlyToken, Guest, OnClose, Pace, PoolName, Protocol, Reuse,
};
use hob_model::{
    EndReason,
    port::{RunError, Sandboxes, StartedRun},
    sandbox::{Language, RunEvent, RunMaxima, RunOrder},
};
use hob_testkit::{FLY_APP, FLY_TOKEN, FakeFly, assert_eventually};
use tempfile::TempDir;

pub(crate) const POOL: &str = "my-pool";
pub(crate) const IMAGE: &str = "registry.fly.io/workers:1";
pub(crate) const REGION: &str = "fra";
pub(crate) const LEASE: Duration = Duration::from_secs(300);
/// Often enough for a test.
pub(crate) const CLEANING: Duration = Duration::from_millis(20);

/// The fake, and a folder for the pool's roster.
pub(crate) struct World {
    pub(crate) fly: FakeFly,
    folder: TempDir,
}

/// What a run said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) stdout: String,
    /// `None` where the events just ended.
    pub(crate) end: Option<(i32, EndReason)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            fly: FakeFly::start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn roster(&self) -> PathBuf {
        self.folder.path().join("fly.json")
    }

    /// A pool of two that is cleaned only when it is opened.
    pub(crate) fn pool(&self) -> FlyPool {
        self.pool_with(|_| {})
    }

    pub(crate) fn pool_with(&self, change: impl FnOnce(&mut FlyConfig)) -> FlyPool {
        let mut config = self.config();
        change(&mut config);
        FlyPool::open(config).unwrap()
    }

    pub(crate) fn config(&self) -> FlyConfig {
        FlyConfig {
            api: self.fly.api(),
            app: FLY_APP.into(),
            token: FlyToken::new(FLY_TOKEN).unwrap(),
            region: REGION.into(),
            pool: POOL.parse::<PoolName>().unwrap(),
            image: IMAGE.into(),
            guest: Guest {
                kind: "shared".into(),
                cpus: 1,
                memory: 256,
            },
            port: 8001,
            workers: self.fly.flycast(),
            protocol: Protocol::Hob,
            key: None,
            size: 2,
            queue: 10,
            lease: LEASE,
            limits: RunMaxima::default(),
            languages: vec![Language {
                name: "bash".into(),
                aliases: Vec::new(),
                version: String::new(),
                file: "main.sh".into(),
                run: Vec::new(),
            }],
            reuse: Reuse::Stopped,
            on_close: OnClose::Stop,
            roster: self.roster(),
            pace: Pace {
                request: Duration::from_secs(5),
                start: Duration::from_secs(1),
                stop: Duration::from_secs(1),
                busy: Duration::from_millis(1),
                early: Duration::from_millis(1),
                spacing: Duration::ZERO,
                destroy: Duration::from_millis(5),
                clean: Duration::from_secs(3600),
                close: Duration::from_secs(10),
            },
            clock: Clock::new(self.fly.clock()),
        }
    }

    /// What was asked for of machines, without the looks at all of them.
    pub(crate) fn calls(&self) -> Vec<String> {
        let mut calls = self.fly.calls();
        calls.retain(|call| call != "list");
        calls
    }

    /// The only machine's identifier.
    pub(crate) fn only(&self) -> String {
        let machines = self.fly.machines();
        assert_eq!(machines.len(), 1, "{machines:?}");
        machines[0].id.clone()
    }

    /// Closes a pool, and sees to it that it leaves no machine running and none too many.
    pub(crate) async fn end(&self, pool: FlyPool) {
        pool.close().await;
        let size = pool.standing().size;
        let machines = self.fly.machines();
        let states: Vec<_> = machines.iter().map(|m| (&m.name, &m.state)).collect();
        assert!(states.iter().all(|(_, s)| *s == "stopped"), "{states:?}");
        assert!(states.len() <= size, "{states:?}");
    }

    /// A hob that is killed while it has a run that does not end.
    pub(crate) fn crash_with_a_run(&self) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let config = self.config();
        let (pool, run) = runtime.block_on(async {
            let pool = FlyPool::open(config).unwrap();
            let run = start(&pool, "echo on\nhang").await.unwrap();
            (pool, run)
        });
        runtime.shutdown_background();
        drop((pool, run));
        assert_eq!(self.fly.running().len(), 1);
    }
}

/// Waits until every place is given back.
pub(crate) fn settled(pool: &FlyPool) {
    assert_eventually!(pool.standing().leased == 0, "{:?}", pool.standing());
}

pub(crate) async fn start(pool: &FlyPool, script: &str) -> Result<StartedRun, RunError> {
    pool.run(order(script)).await
}

pub(crate) fn order(script: &str) -> RunOrder {
    RunOrder {
        caller: "test".into(),
        language: "bash".into(),
        script: script.into(),
        ..RunOrder::default()
    }
}

/// Has a script run and waits until its machine is put away.
pub(crate) async fn run(pool: &FlyPool, script: &str) -> Result<Said, RunError> {
    let said = match start(pool, script).await {
        Ok(run) => Ok(read(run).await),
        Err(error) => Err(error),
    };
    settled(pool);
    said
}

pub(crate) async fn read(mut run: StartedRun) -> Said {
    let mut said = Said {
        stdout: String::new(),
        end: None,
    };
    while let Some(event) = run.events.next().await {
        match event {
            RunEvent::Stdout(bytes) => said.stdout += std::str::from_utf8(&bytes).unwrap(),
            RunEvent::Stderr(_) => {}
            RunEvent::End(end) => said.end = Some((end.code, end.end.reason)),
        }
    }
    said
}

pub(crate) fn well(stdout: &str) -> Said {
    Said {
        stdout: stdout.into(),
        end: Some((0, EndReason::Ok)),
    }
}
