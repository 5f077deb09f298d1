//! Replicas on this machine: each a program in its own cage, started when it is called, kept
//! alive while it is wanted, replaced without a gap when its function changes.

mod backoff;
mod canary;
mod environment;
mod fleet;
mod fleets;
mod freeze;
mod host;
mod inherit;
mod isolation;
mod listener;
mod logs;
mod networks;
mod per_call;
mod phase;
mod places;
mod plan;
mod probe;
mod ready;
mod record;
mod replica;
mod retire;
mod rollout;
mod scale;
mod scratch;
mod secrets;
mod shared;
mod supervise;

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use hob_model::{
    EndReason, FleetName, Function, FunctionName, Isolation, ReplicaId, Routes, SecretName,
    port::{Effort, Engine, EngineError, LogQuery, LogStream, Observed, Secrets},
};
use hob_sandbox::{Sandbox, network::NetworkConfig};
use tokio::task::spawn_blocking;

use fleets::Fleets;
pub(crate) use host::{listen_to, told};

use host::Host;
use inherit::Estate;
use places::Places;

/// Default for [`LocalConfig::start_timeout`].
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// What a [`LocalEngine`] has to know.
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// The data directory: `bundles/` is read, `logs/` is written.
    pub data: PathBuf,
    /// Folder of what only makes sense while replicas run, best on a tmpfs and with a short
    /// path; anyone may pass through it and only hob lists it. Its `r/`, `x/`,
    /// `secrets/` and `replicas/` belong to the engine.
    pub run: PathBuf,
    /// The cage of functions that ask for none; `None` means as strong as the machine can.
    pub isolation: Option<Isolation>,
    /// The networks of images, and of functions that may reach none.
    pub network: NetworkConfig,
    /// Longest time from the start of a replica until it listens; a function's own timeout
    /// counts where it is shorter.
    pub start_timeout: Duration,
    /// Bytes that the logs of one function may take, those of replicas that are gone included.
    pub log_quota: u64,
}

/// The engine that runs replicas on this machine.
pub struct LocalEngine {
    fleets: Arc<Fleets>,
}

// === impl LocalConfig ===

impl LocalConfig {
    /// With the defaults.
    pub fn new(data: PathBuf, run: PathBuf) -> Self {
        Self {
            network: NetworkConfig::new(run.join("sandbox")),
            data,
            run,
            isolation: None,
            start_timeout: START_TIMEOUT,
            log_quota: logs::Quota::default().0,
        }
    }
}

// === impl LocalEngine ===

impl LocalEngine {
    /// Looks at what an earlier daemon left and makes the folders of running replicas. What its
    /// records name and still runs waits for [`Engine::apply`] of its function, until
    /// [`LocalEngine::settle`]; all else is ended. Blocks for some milliseconds; has to be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// When a leftover does not go away, or a folder cannot be made.
    pub fn new(
        config: LocalConfig,
        sandbox: Arc<Sandbox>,
        routes: Arc<Routes>,
        secrets: Arc<dyn Secrets>,
    ) -> Result<Arc<Self>, EngineError> {
        let run = config.run.clone();
        let places = Places::new(config.data.clone(), run.clone());
        let estate = Estate::find(&places, &sandbox, config.network.subnet);
        let swept = sandbox
            .sweep(&estate.cages())
            .map_err(|e| EngineError::Host(format!("replicas of an earlier run: {e}")))?;
        if swept > 0 {
            tracing::info!(swept, "ended replicas of an earlier run");
        }
        let host = Host::new(config, sandbox, routes, secrets, &estate.networks());
        places.reset(&estate.paths(&places)).map_err(|problem| {
            EngineError::Host(format!("cannot use folder {}: {problem}", run.display()))
        })?;
        let fleets = Fleets::new(host);
        fleets.inherit(estate);
        let logs = Arc::clone(&fleets.host.logs);
        tokio::spawn(logs.run(fleets.host.closing.clone()));
        Ok(Arc::new(Self { fleets }))
    }

    /// Every function was applied: ends the replicas of an earlier daemon that none of them went
    /// on with, in the background.
    pub fn settle(&self) {
        self.fleets.settle();
    }

    /// Leaves all replicas to the next daemon, running and reached by nobody, in place of
    /// [`LocalEngine::shutdown`]. Nothing can be started after it. Blocks for some milliseconds.
    pub fn let_go(&self) {
        self.fleets.let_go();
    }

    /// Ends all replicas, in parallel and within seconds, and removes everything that only made
    /// sense while they ran. Nothing can be started after it.
    pub async fn shutdown(&self) {
        self.fleets.shutdown().await;
    }

    /// Runs `work` to its end even if the caller goes away: half a rollout helps nobody.
    async fn finish<T: Send + 'static>(
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let done = tokio::spawn(work).await;
        done.unwrap_or_else(|panic| Err(EngineError::Host(format!("engine: {panic}"))))
    }
}

#[async_trait]
impl Engine for LocalEngine {
    async fn apply(&self, function: &Function) -> Result<(), EngineError> {
        let (fleets, function) = (Arc::clone(&self.fleets), function.clone());
        Self::finish(async move { fleets.apply(&function).await }).await
    }

    async fn scale(&self, fleet: &FleetName, replicas: u32) -> Result<Effort, EngineError> {
        self.fleets.get(fleet)?.scale(replicas).await
    }

    async fn adjust(&self, fleet: &FleetName, replicas: u32) -> Result<(), EngineError> {
        self.fleets.get(fleet)?.adjust(replicas)
    }

    async fn freeze(&self, fleet: &FleetName) -> Result<bool, EngineError> {
        let fleet = self.fleets.get(fleet)?;
        Self::finish(async move { fleet.freeze().await }).await
    }

    async fn remove(&self, name: &FunctionName) -> Result<(), EngineError> {
        let (fleets, name) = (Arc::clone(&self.fleets), name.clone());
        Self::finish(async move { fleets.remove(&name).await }).await
    }

    async fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        let fleets = Arc::clone(&self.fleets);
        // Memory is read from files of the kernel.
        let observed = spawn_blocking(move || fleets.observe()).await;
        observed.map_err(|panic| EngineError::Host(format!("engine: {panic}")))
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<LogStream, EngineError> {
        let fleet = self.fleets.get(&FleetName::stable(name))?;
        let folder = fleet.host.places.logs(name);
        if let Some(instance) = &query.instance {
            let log = logs::path_of(&folder, &instance.0);
            if !tokio::fs::try_exists(log).await.unwrap_or(true) {
                let (function, instance) = (name.clone(), instance.clone());
                return Err(EngineError::NoInstance { function, instance });
            }
        }
        let shared = Arc::clone(&fleet.shared);
        let source = logs::Source {
            keeper: Arc::clone(&fleet.host.logs),
            folder,
            closed: fleet.closed.clone(),
            living: Box::new(move || shared.living()),
        };
        Ok(logs::stream(source, query))
    }

    async fn condemn(&self, name: &FunctionName, replica: &ReplicaId, why: EndReason) {
        // A function that is gone has no replica to condemn, and only one fleet has it.
        for fleet in self.fleets.of(name) {
            fleet.condemn(replica, why);
        }
    }

    async fn refresh_secret(
        &self,
        namespace: &str,
        secret: &SecretName,
    ) -> Result<(), EngineError> {
        let mut fleets = self.fleets.list();
        fleets.retain(|fleet| fleet.name.namespace() == namespace);
        let secret = secret.clone();
        Self::finish(async move {
            let refresh = move || {
                let outcomes = fleets.iter().map(|fleet| fleet.refresh_secret(&secret));
                // All are tried, whatever the first ones say.
                let outcomes: Vec<_> = outcomes.collect();
                outcomes.into_iter().collect()
            };
            let refreshed = spawn_blocking(refresh).await;
            refreshed.unwrap_or_else(|panic| Err(EngineError::Host(format!("engine: {panic}"))))
        })
        .await
    }
}
