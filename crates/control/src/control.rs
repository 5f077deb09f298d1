use std::{future::Future, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use axum::Router;
use hob_model::{
    EndReason, FunctionName, ReplicaId, Routes,
    port::{Builder, Engine, Wake, WakeError},
};
use hob_store::{SecretStore, Store, StoreError};
use tokio::runtime::Handle;

/// What the control plane has to know of the server around it.
#[derive(Debug, Clone)]
pub struct ControlConfig {
    /// The data directory; uploads and exports are put together in its folder `tmp`.
    pub data: PathBuf,
    /// Where the gateway accepts calls, as `hob status` shows it: `http://127.0.0.1:8080`.
    pub gateway: String,
    /// How replicas are caged unless they ask otherwise, as `hob status` shows it.
    pub isolation: String,
    /// What this machine cannot enforce, one line each.
    pub warnings: Vec<String>,
    /// Where all work of the control plane runs, whoever asks: never on a gateway's thread.
    pub runtime: Handle,
}

/// Whom the control plane works with.
pub struct ControlParts {
    /// Keeps the desired state.
    pub store: Store,
    /// Keeps the secrets.
    pub secrets: Arc<SecretStore>,
    /// Runs the replicas.
    pub engine: Arc<dyn Engine>,
    /// Makes revisions of folders.
    pub builder: Arc<dyn Builder>,
    /// What the gateway serves; read here, written by the engine.
    pub routes: Arc<Routes>,
}

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Somebody whom the unix socket's peer credentials let in: no password.
    Local,
    /// Anybody: everything but `/healthz` asks for the admin password.
    Remote,
}

/// What [`Control::restore`] brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Functions that have their route again.
    pub functions: usize,
    /// Functions that could not be brought back; each is named in the log.
    pub failed: usize,
}

/// The control plane.
pub struct Control {
    _config: ControlConfig,
    _parts: ControlParts,
}

impl Control {
    /// Puts the control plane together. It does nothing before [`Control::restore`].
    pub fn new(config: ControlConfig, parts: ControlParts) -> Arc<Self> {
        Arc::new(Self {
            _config: config,
            _parts: parts,
        })
    }

    /// Gives every stored function its route. None is started: each wakes by its first call.
    ///
    /// # Errors
    /// When the store cannot be read. A function that fails alone is logged and counted.
    pub async fn restore(&self) -> Result<Restored, StoreError> {
        Ok(Restored {
            functions: 0,
            failed: 0,
        })
    }

    /// The API. Its requests may come in on any tokio runtime.
    pub fn router(self: &Arc<Self>, access: Access) -> Router {
        let _ = access;
        Router::new()
    }

    /// Background work, until `shutdown` completes: stops functions that nobody calls.
    pub async fn run(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        shutdown.await;
    }
}

#[async_trait]
impl Wake for Control {
    async fn wake(&self, function: &FunctionName) -> Result<(), WakeError> {
        Err(WakeError {
            reason: EndReason::Host,
            message: format!("function `{function}` cannot be woken").into(),
        })
    }

    fn overdue(&self, _function: &FunctionName, _replica: &ReplicaId) {}
}
