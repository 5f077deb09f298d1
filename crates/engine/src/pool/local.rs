//! Sandboxes of this machine: made ahead, each leased to one run, and removed with its end.
//!
//! The way of a run: its order is checked (`order`), it gets a place in line and with it a sandbox
//! that waits (`stock`), whose lease is on disk since before it was made (`lease`). A thread of its
//! own ends it at its deadline (`watch`, `run`), while what it says goes to its reader (`pump`).

mod config;
mod languages;
mod lease;
mod order;
mod orphans;
mod owner;
mod pump;
mod run;
mod start;
mod stock;
mod version;
mod watch;
mod worker;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use async_trait::async_trait;
use hob_model::{
    port::{PoolStanding, RunError, Sandboxes, StartedRun},
    sandbox::{Language, RunOrder},
};
use hob_sandbox::{Able, Sandbox};
use thiserror::Error;
use tokio::task::spawn_blocking;
use tokio_util::sync::DropGuard;

pub use config::{LanguageSetting, LocalPoolConfig};
pub use languages::languages_elsewhere;
pub(super) use order::check;

use super::{Line, Place};
use languages::Languages;
use order::Job;
use orphans::Orphans;
use stock::{Stock, closed};
use watch::Watch;

/// Most sandboxes of one pool.
pub const MAX_SIZE: usize = 10_000;

/// The pool of this machine.
pub struct LocalPool {
    line: Line,
    stock: Arc<Stock>,
    languages: Languages,
    watch: Watch,
    leases: PathBuf,
    /// Has the stock give up when the pool was dropped without being closed.
    _abandoned: Abandoned,
    _orphans: DropGuard,
}

/// Why there is no pool. One line each, with the cure where there is one.
#[derive(Debug, Error)]
pub enum PoolError {
    /// A setting makes no sense.
    #[error("{0}")]
    Setting(String),
    /// This machine cannot make such sandboxes. They are never made weaker in silence.
    #[error("sandbox level `{level}` is not possible here: {why}; {cure}")]
    Unable {
        /// What was asked.
        level: hob_model::sandbox::SandboxLevel,
        /// What is missing.
        why: String,
        /// What to install or set.
        cure: String,
    },
    /// A folder of hob's own could not be used, or the machine has no thread.
    #[error("{what}: {source}")]
    Host {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

struct Abandoned(Arc<Stock>);

// === impl LocalPool ===

impl LocalPool {
    /// Removes what an earlier hob left in the run folder, and begins to make sandboxes. `sandbox`
    /// has been swept, if anybody does that. Blocks for some milliseconds; has to be called inside
    /// a tokio runtime.
    ///
    /// # Errors
    /// When the level is not possible here, a language makes no sense, or a folder cannot be made.
    pub fn new(config: LocalPoolConfig, sandbox: Arc<Sandbox>) -> Result<Arc<Self>, PoolError> {
        let (level, runtime) = (config.level, config.runtime.as_deref());
        if let Able::No { why, cure } = sandbox.able_oneshot(level, runtime) {
            return Err(PoolError::Unable { level, why, cure });
        }
        if !(1..=MAX_SIZE).contains(&config.size) {
            let words = format!("a pool has 1 to {MAX_SIZE} sandboxes");
            return Err(PoolError::Setting(words));
        }
        let languages = Languages::new(&config.languages).map_err(PoolError::Setting)?;
        let leases = lease::make_folder(&config.run)
            .map_err(PoolError::host("cannot make a folder in", &config.run))?;
        let orphans = Orphans {
            sandbox: Arc::clone(&sandbox),
            own: config.run.clone(),
            neighbours: config.neighbours.clone(),
        };
        let left = orphans.clear_own(&leases);
        let left = left.map_err(PoolError::host("cannot empty", &leases))?;
        if left > 0 {
            tracing::info!(sandboxes = left, "removed what an earlier run left");
        }
        let watch = Watch::start().map_err(PoolError::host("cannot watch", &leases))?;
        let stock = Arc::new(Stock::new(sandbox, config, leases.clone()));
        languages.ask_for_versions();
        stock.refill();
        let config = &stock.config;
        tracing::info!(size = config.size, queue = config.queue, %level, "a pool of sandboxes");
        Ok(Arc::new(Self {
            line: Line::new(config.size, config.queue),
            _abandoned: Abandoned(Arc::clone(&stock)),
            _orphans: orphans.look_after(),
            stock,
            languages,
            watch,
            leases,
        }))
    }

    async fn enter(&self, caller: &str) -> Result<Place, RunError> {
        tokio::select! {
            biased;
            () = self.stock.closing.cancelled() => Err(closed()),
            place = self.line.enter(caller) => place,
        }
    }
}

#[async_trait]
impl Sandboxes for LocalPool {
    async fn run(&self, mut order: RunOrder) -> Result<StartedRun, RunError> {
        let caller = std::mem::take(&mut order.caller);
        let job = Job::of(order, &self.languages, &self.stock.config);
        let job = job.map_err(RunError::Refused)?;
        let entered = Instant::now();
        let place = self.enter(&caller).await?;
        let made = self.stock.take().await?;
        self.start(job, place, made, entered).await
    }

    fn languages(&self) -> Vec<Language> {
        self.languages.list()
    }

    fn standing(&self) -> PoolStanding {
        let (leased, waiting) = self.line.standing();
        PoolStanding {
            size: self.line.size(),
            ready: self.stock.ready(),
            leased,
            waiting,
        }
    }

    async fn close(&self) {
        self.stock.close().await;
        let leases = self.leases.clone();
        // Nobody else has anything in there, and what is left has been told of.
        let _ = spawn_blocking(move || fs::remove_dir(leases)).await;
    }
}

// === impl PoolError ===

impl PoolError {
    fn host(what: &str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Host { what, source }
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
