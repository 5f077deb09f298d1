//! What the control plane is made of.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context;
use hob_control::{Certificates, ControlParts, KnownRegistries, Registry};
use hob_engine::{
    LocalEngine,
    build::{BuilderConfig, FolderBuilder, ImageMaker},
};
use hob_image::{ImageStore, RegistryClient};
use hob_model::{Bans, Routes, port::Sandboxes};
use hob_sandbox::Sandbox;
use hob_store::{CallQueue, SecretStore, Store};

use crate::{config::Config, environment::Environment, exit::Failure};

/// What the control plane and the gateway have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) routes: Arc<Routes>,
    pub(super) secrets: Arc<SecretStore>,
    pub(super) bans: Arc<Bans>,
    /// What is presented to those who come by TLS.
    pub(super) keyring: Arc<hob_gateway::Certificates>,
}

/// What is there before the control plane, and is used by it.
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) sandbox: Arc<Sandbox>,
    pub(super) engine: Arc<LocalEngine>,
    /// Runs what strangers send, if the owner wants that.
    pub(super) sandboxes: Option<Arc<dyn Sandboxes>>,
    pub(super) shared: Shared,
}

impl Shared {
    /// With the secrets that there are, and nothing else yet.
    ///
    /// # Errors
    /// When the secrets cannot be opened.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let data = &config.data;
        let secrets = SecretStore::open(&data.join("secrets"), &data.join("identity.txt"))?;
        let functions = config.subnet.unwrap_or_default();
        let exempt = config.bans.exempt(functions, &config.proxies.trusted);
        Ok(Self {
            routes: Arc::default(),
            secrets: Arc::new(secrets),
            bans: Arc::new(Bans::new(config.bans.rules.clone(), exempt)),
            keyring: Arc::default(),
        })
    }
}

impl Ground {
    /// Adds the queue, the images and what builds them.
    ///
    /// # Errors
    /// When something of it cannot be opened.
    pub(super) fn control_parts(
        self,
        config: &Config,
        address: SocketAddr,
        env: &Environment,
    ) -> anyhow::Result<ControlParts> {
        let Shared {
            routes,
            secrets,
            bans,
            keyring,
        } = self.shared;
        let images = ImageStore::open(&config.data)?;
        let registries = Arc::new(KnownRegistries::new(
            &config.data,
            Arc::clone(&secrets),
            docker_config(env),
        ));
        let registry_client = Arc::new(RegistryClient::new(Arc::clone(&registries) as _));
        let builder = builder(config, self.sandbox);
        let image_builder = ImageMaker::new(
            builder.clone(),
            Arc::clone(&images),
            Arc::clone(&registry_client),
        );
        Ok(ControlParts {
            calls: CallQueue::open(&self.store)?,
            store: self.store,
            secrets,
            engine: self.engine,
            image_builder: Arc::new(image_builder),
            registry_client,
            builder: Arc::new(builder),
            registry: registry(config, &images, address)?,
            images,
            registries,
            certificates: certificates(config, keyring, &routes)?,
            routes,
            bans,
            sandboxes: self.sandboxes,
        })
    }
}

fn certificates(
    config: &Config,
    keyring: Arc<hob_gateway::Certificates>,
    routes: &Arc<Routes>,
) -> anyhow::Result<Option<Arc<Certificates>>> {
    let Some(tls) = &config.tls else {
        return Ok(None);
    };
    let wanted = tls.certificates.clone();
    let opened = Certificates::open(wanted, &config.data, keyring, Arc::clone(routes));
    Ok(Some(
        opened.map_err(|error| Failure::failed(error.to_string()))?,
    ))
}

/// Docker's `config.json` of the server's user.
fn docker_config(env: &Environment) -> Option<PathBuf> {
    let folder = match env.text("DOCKER_CONFIG") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(env.text("HOME")?).join(".docker"),
    };
    Some(folder.join("config.json"))
}

fn builder(config: &Config, sandbox: Arc<Sandbox>) -> FolderBuilder {
    let mut building = BuilderConfig::new(&config.data);
    building.isolation = config.isolation;
    let builder = FolderBuilder::new(building, sandbox);
    if let Err(error) = builder.sweep() {
        let tmp = config.data.join("tmp");
        tracing::warn!(%error, "cannot empty {}", tmp.display());
    }
    builder
}

fn registry(
    config: &Config,
    images: &Arc<ImageStore>,
    address: SocketAddr,
) -> anyhow::Result<Option<Arc<Registry>>> {
    if !config.registry {
        return Ok(None);
    }
    let registry = Registry::open(Arc::clone(images), &config.data, &address.to_string());
    Ok(Some(registry.context("cannot open the registry")?))
}
