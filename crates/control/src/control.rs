use std::{collections::BTreeMap, future, path::PathBuf, sync::Arc, time::Instant};

use axum::Router;
use hob_image::{ImageBuilder, ImageStore, RegistryClient};
use hob_model::{
    Bans, FunctionName, Routes,
    port::{Builder, Engine, Sandboxes},
};
use hob_store::{CallQueue, SecretStore, Store, StoreError};
use tokio::{runtime::Handle, sync::Mutex};

use crate::{
    Certificates, Registry,
    api::{self, Access},
    autoscale::Scalers,
    bundles::Bundles,
    coming::Comings,
    deployed::Deployed,
    domains::Domains,
    gate::Gate,
    images::Images,
    metrics::Metrics,
    queue::{Queue, QueueLimits},
    registries::KnownRegistries,
    remote_builds::RemoteBuilds,
    runs::{Runs, RunsConfig},
    schedule::Timetable,
    tokens::KnownTokens,
    turns::Turns,
    usage::Usage,
    wake::Wakes,
};

/// What the control plane has to know of the server around it.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// The data directory; uploads and exports are put together in its folder `tmp`.
    pub data: PathBuf,
    /// Where the gateway accepts calls, as `hob status` shows it: `http://127.0.0.1:8080`.
    pub gateway: String,
    /// Where it accepts them by TLS, as `hob status` shows it: `https://0.0.0.0:443`.
    pub tls: Option<String>,
    /// Where the metrics are, as `hob status` shows it: `http://127.0.0.1:8082/metrics`. `None`
    /// when nobody serves them.
    pub metrics: Option<String>,
    /// How replicas are caged unless they ask otherwise, as `hob status` shows it.
    pub isolation: String,
    /// What this machine cannot enforce, one line each.
    pub warnings: Vec<String>,
    /// What the queue of asynchronous calls may take.
    pub queue: QueueLimits,
    /// How many revisions of each function are kept, the one that runs included; at least 1.
    pub keep_revisions: u32,
    /// How strangers' programs are run, if they are.
    pub runs: RunsConfig,
    /// Where all work of the control plane runs, whoever asks: never on a gateway's thread.
    pub runtime: Handle,
}

/// Whom the control plane works with.
pub struct ControlParts {
    /// Keeps the desired state.
    pub store: Store,
    /// Keeps the asynchronous calls.
    pub calls: CallQueue,
    /// Keeps the secrets.
    pub secrets: Arc<SecretStore>,
    /// Runs the replicas.
    pub engine: Arc<dyn Engine>,
    /// Makes revisions of folders.
    pub builder: Arc<dyn Builder>,
    /// Keeps the images.
    pub images: Arc<ImageStore>,
    /// Knows how to log in where images come from.
    pub registries: Arc<KnownRegistries>,
    /// Fetches images, with what `registries` know.
    pub registry_client: Arc<RegistryClient>,
    /// Makes images of folders.
    pub image_builder: Arc<dyn ImageBuilder>,
    /// What the gateway serves; read here, written by the engine.
    pub routes: Arc<Routes>,
    /// Who is shut out: asked and fed by the gateway.
    pub bans: Arc<Bans>,
    /// Takes and gives images under `/v2`, if the owner wants that.
    pub registry: Option<Arc<Registry>>,
    /// Gets the certificates of the TLS listener, if there is one.
    pub certificates: Option<Arc<Certificates>>,
    /// Runs what strangers send, if the owner wants that.
    pub sandboxes: Option<Arc<dyn Sandboxes>>,
}

/// The control plane.
pub struct Control {
    pub(crate) config: ControlConfig,
    pub(crate) store: Store,
    pub(crate) queue: Arc<Queue>,
    pub(crate) secrets: Arc<SecretStore>,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) builder: Arc<dyn Builder>,
    pub(crate) images: Arc<Images>,
    pub(crate) bundles: Bundles,
    pub(crate) image_builder: Arc<dyn ImageBuilder>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) bans: Arc<Bans>,
    /// Bans and what the store has of them change together, one change at a time.
    pub(crate) ban_changes: Mutex<()>,
    pub(crate) registry: Option<Arc<Registry>>,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) runs: Runs,
    /// What the store holds, at hand for every wake and every look at the clock.
    pub(crate) deployed: Deployed,
    /// Functions that cannot run, since something that they need is gone, and what it is.
    pub(crate) lost: std::sync::Mutex<BTreeMap<FunctionName, String>>,
    pub(crate) wakes: Arc<Wakes>,
    /// How many replicas load asks for, of functions that are awake.
    pub(crate) scalers: Scalers,
    /// What will be deployed as soon as it can run.
    pub(crate) coming: Comings,
    pub(crate) usage: Usage,
    /// When the clock calls which function.
    pub(crate) timetable: Timetable,
    /// Deploys of one name come one after the other, from build to answer.
    pub(crate) deploys: Turns,
    /// Engine and store change together, one change per name at a time. Always taken after
    /// `deploys`; held for a start, never for a build.
    pub(crate) changes: Turns,
    /// Whose domains are whose while changes of several functions go on.
    pub(crate) domains: Domains,
    /// One backup at a time; while it is locked no bundle may be taken away.
    pub(crate) backups: Arc<Mutex<()>>,
    pub(crate) gate: Gate,
    pub(crate) tokens: Arc<KnownTokens>,
    pub(crate) remote_builds: RemoteBuilds,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) started: Instant,
}

// === impl Control ===

impl Control {
    /// Puts the control plane together. It serves nothing before [`Control::restore`].
    pub fn new(config: ControlConfig, parts: ControlParts) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(parts.store.clone()),
            queue: Queue::new(parts.calls, config.queue),
            runs: Runs::new(parts.sandboxes, config.runs.clone()),
            config,
            store: parts.store,
            secrets: parts.secrets,
            engine: parts.engine,
            builder: parts.builder,
            images: Arc::new(Images::new(
                parts.images,
                parts.registries,
                parts.registry_client,
                parts.registry.clone(),
            )),
            bundles: Bundles::default(),
            image_builder: parts.image_builder,
            routes: parts.routes,
            bans: parts.bans,
            ban_changes: Mutex::default(),
            registry: parts.registry,
            certificates: parts.certificates,
            deployed: Deployed::default(),
            lost: std::sync::Mutex::default(),
            wakes: Arc::default(),
            scalers: Scalers::default(),
            coming: Comings::default(),
            usage: Usage::default(),
            timetable: Timetable::default(),
            deploys: Turns::default(),
            tokens: Arc::default(),
            remote_builds: RemoteBuilds::default(),
            metrics: Arc::default(),
            changes: Turns::default(),
            domains: Domains::default(),
            backups: Arc::default(),
            started: Instant::now(),
        })
    }

    /// The API. Its requests may come in on any tokio runtime; they are worked on in the one
    /// of the configuration.
    pub fn router(self: &Arc<Self>, access: Access) -> Router {
        api::router(self, access)
    }

    /// Where files are put together that must not outlive a crash.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.config.data.join("tmp")
    }

    /// Asks the store, on a thread that may wait for the disk.
    pub(crate) async fn stored<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.store.clone();
        blocking(&self.config.runtime, move || work(&store)).await
    }

    /// Asks the secrets, on a thread that may wait for the disk and for the cipher.
    pub(crate) async fn secret<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SecretStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let secrets = Arc::clone(&self.secrets);
        blocking(&self.config.runtime, move || work(&secrets)).await
    }
}

/// Runs `work` on a thread that may block; a panic in it goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match runtime.spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and the task that waits here with it.
            Err(_) => future::pending().await,
        },
    }
}

/// The same in the runtime that this is called in.
pub(crate) async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    blocking(&Handle::current(), work).await
}
