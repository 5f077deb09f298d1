//! A pool of Fly Machines: each run gets a machine to itself, which is stopped or destroyed after
//! it. [`roster`] has which machines are ours, and nothing that a machine says of itself counts.
//!
//! A machine goes `make or start → wait → run → stop → wait → free`, and whatever goes wrong on
//! the way has it destroyed. Whoever has one holds a place in line, so that there are never more
//! machines in use and free together than the pool may have.

mod api;
mod clean;
mod close;
mod destroy;
mod error;
mod hire;
mod machine;
mod name;
mod pace;
mod release;
mod roster;
mod run;
mod token;

use std::{
    collections::HashSet,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use hob_model::{
    port::{PoolStanding, RunError, Sandboxes, StartedRun},
    sandbox::{Language, RunMaxima, RunOrder},
};
use tokio::{runtime::Handle, sync::Notify};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};

use super::{
    Line,
    worker::{Protocol, SigningKey, WorkerClient},
};
use api::Api;
use machine::Recipe;
use roster::{Phase, Roster};

pub use error::FlyError;
pub use machine::Guest;
pub use name::PoolName;
pub use pace::{Clock, Pace};
pub use token::FlyToken;

/// How a pool of Fly Machines is to be.
#[derive(Debug)]
pub struct FlyConfig {
    /// Address of the Machines API: `http://_api.internal:4280` inside Fly's private network,
    /// `https://api.machines.dev` outside.
    pub api: String,
    /// The app whose machines are the workers. Nothing else should be in it.
    pub app: String,
    /// For the API.
    pub token: FlyToken,
    /// Where machines are made, such as `fra`.
    pub region: String,
    /// Tells this pool's machines from those of other pools in the same app.
    pub pool: PoolName,
    /// What machines run: a worker that listens on [`FlyConfig::port`].
    pub image: String,
    /// Size of each.
    pub guest: Guest,
    /// Where the worker listens in its machine.
    pub port: u16,
    /// Where workers are reached: `http://APP.flycast`.
    pub workers: String,
    /// What they speak.
    pub protocol: Protocol,
    /// Signs what they are asked for.
    pub key: Option<SigningKey>,
    /// Most machines at once.
    pub size: usize,
    /// Most callers that wait for one.
    pub queue: usize,
    /// How long a machine is leased at a time; an idle one is destroyed when it ends.
    pub lease: Duration,
    /// What a run may use.
    pub limits: RunMaxima,
    /// What the workers understand.
    pub languages: Vec<Language>,
    /// What becomes of a machine after its run.
    pub reuse: Reuse,
    /// What becomes of machines when the pool is closed.
    pub on_close: OnClose,
    /// File where the pool's machines are written down.
    pub roster: PathBuf,
    /// How patient the pool is.
    pub pace: Pace,
    /// What time it is.
    pub clock: Clock,
}

/// What becomes of a machine after its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// It is stopped, which has Fly reset its disk to the image, and started for the next run.
    Stopped,
    /// It is destroyed.
    Never,
}

/// What becomes of the pool's machines when it is closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnClose {
    /// They are stopped, and the next hob goes on with them. Stopped ones cost next to nothing.
    #[default]
    Stop,
    /// They are destroyed.
    Destroy,
}

/// The pool. Dropping it without [`Sandboxes::close`] leaves its machines to the next one with the
/// same roster.
pub struct FlyPool {
    shared: Arc<Shared>,
    /// Ends the pool's own tasks.
    _guard: DropGuard,
}

/// What the pool's tasks share.
struct Shared {
    config: FlyConfig,
    recipe: Recipe,
    api: Api,
    workers: WorkerClient,
    line: Line,
    roster: Roster,
    /// Names of machines that are being made, which are in no roster yet.
    making: Mutex<HashSet<String>>,
    /// Says that there is something to destroy.
    doomed: Notify,
    /// One destroys at a time, so that the pace is kept.
    destroying: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    runtime: Handle,
    /// No more runs.
    closing: CancellationToken,
    /// No more tasks of the pool's own.
    ended: CancellationToken,
}

// === impl FlyPool ===

impl FlyPool {
    /// Opens the pool on the present runtime: goes on with machines that an earlier hob left, and
    /// looks after them all from then on. That Fly can be reached is not needed for it.
    ///
    /// # Errors
    /// When the settings make no sense, or the roster cannot be read and written.
    pub fn open(mut config: FlyConfig) -> Result<Self, FlyError> {
        let least = config.pace.start + config.pace.stop + config.limits.time.0;
        if config.lease < least {
            return Err(FlyError::Lease {
                lease: config.lease,
                least,
            });
        }
        let (pace, token) = (config.pace.clone(), config.token.clone());
        let api = Api::new(&config.api, &config.app, token, pace)?;
        let workers = WorkerClient::new(config.key.take());
        let workers = workers.map_err(|error| FlyError::Client(error.to_string()))?;
        let recipe = Recipe {
            image: config.image.clone(),
            guest: config.guest.clone(),
            port: config.port,
            pool_id: config.pool.id(&config.image),
        };
        let ended = CancellationToken::new();
        let shared = Arc::new(Shared {
            roster: Roster::open(config.roster.clone())?,
            line: Line::new(config.size, config.queue),
            recipe,
            api,
            workers,
            config,
            making: Mutex::default(),
            doomed: Notify::new(),
            destroying: tokio::sync::Mutex::default(),
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            closing: CancellationToken::new(),
            ended: ended.clone(),
        });
        // Before anybody can take their places.
        shared.claim_left();
        shared.spawn(clean::keep_clean(shared.clone()));
        shared.spawn(destroy::keep_destroying(shared.clone()));
        Ok(Self {
            shared,
            _guard: ended.drop_guard(),
        })
    }
}

#[async_trait]
impl Sandboxes for FlyPool {
    async fn run(&self, order: RunOrder) -> Result<StartedRun, RunError> {
        run::run(&self.shared, order).await
    }

    fn languages(&self) -> Vec<Language> {
        self.shared.config.languages.clone()
    }

    fn standing(&self) -> PoolStanding {
        let (leased, waiting) = self.shared.line.standing();
        PoolStanding {
            size: self.shared.line.size(),
            ready: self.shared.roster.count(Phase::Free),
            leased,
            waiting,
        }
    }

    /// Ends all runs and stops all machines, or destroys them, in a bounded time. What could not
    /// be done in it is for the next pool with this roster.
    async fn close(&self) {
        close::close(&self.shared).await;
    }
}

// === impl Shared ===

impl Shared {
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(task, &self.runtime);
    }

    fn now(&self) -> u64 {
        self.config.clock.seconds()
    }

    /// How long a lease must last for a run of `time`, in seconds: its machine is started before
    /// it and stopped after it.
    fn needed(&self, time: Duration) -> u64 {
        let pace = &self.config.pace;
        (pace.start + time + pace.stop).as_secs() + 1
    }

    fn lease(&self) -> u64 {
        self.config.lease.as_secs().max(1)
    }

    fn making(&self) -> MutexGuard<'_, HashSet<String>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
