//! From the name of an image to a revision that the engine can run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use hob_image::{
    Digest, Image, ImageError, ImageRef, ImageStore, Origin, Platform, Progress, Pruned, Pruning,
    RegistryClient, RunConfig,
};
use hob_model::{
    ImageRun, Revision, Run, Settings,
    port::Observed,
    wire::{DeployEvent, ImageDeploy},
};

use crate::{Control, KnownRegistries, OWN_REGISTRY, Registry, events::Events, own_name};

/// Where the functions of OpenFaaS serve HTTP.
const PORT: u16 = 8080;
/// Variables with another port: the first is of OpenFaaS's watchdog.
const PORT_VARIABLES: [&str; 2] = ["port", "PORT"];
/// What `hob list` shows in place of a language.
const LANGUAGE: &str = "image";

/// The images of this machine and the way to others.
pub(crate) struct Images {
    pub(crate) store: Arc<ImageStore>,
    pub(crate) client: RegistryClient,
    pub(crate) registries: Arc<KnownRegistries>,
    /// Knows under which names this machine is pushed to.
    registry: Option<Arc<Registry>>,
    /// The manifests of revisions that run or have run, by the revision's digest: a replica that
    /// is on its way out still needs its layers.
    seen: Mutex<HashMap<String, Digest>>,
}

// === impl Images ===

impl Images {
    pub(crate) fn new(
        store: Arc<ImageStore>,
        registries: Arc<KnownRegistries>,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        Self {
            registry,
            store,
            client: RegistryClient::new(Arc::clone(&registries) as _),
            registries,
            seen: Mutex::default(),
        }
    }

    /// Gets the image and everything that it needs to run. The caller holds the store.
    pub(crate) async fn revision(
        &self,
        asked: &ImageDeploy,
        events: &Events,
    ) -> Result<Revision, ImageError> {
        let name = self.own_name(asked.image.parse()?);
        let image = self.obtain(&name, &Platform::host(), events).await?;
        step(events, format!("unpacking {name}"));
        let layers = self.store.unpack(&image).await?;
        let (checked, found, folders) = (image.clone(), name.clone(), layers.clone());
        let config = blocking(move || RunConfig::of(&checked, &folders, &found)).await?;
        let settings = Settings {
            openfaas: asked.openfaas.clone(),
            ..Settings::from(&asked.manifest)
        };
        let run = ImageRun {
            image: asked.image.clone(),
            manifest: image.digest.to_string(),
            layers: layers
                .iter()
                .filter_map(|layer| Some(layer.file_name()?.to_str()?.to_owned()))
                .collect(),
            argv: config.argv,
            port: port(&settings.env, &config.env),
            env: config.env,
            cwd: config.cwd,
            user: (config.user.uid, config.user.gid, config.user.groups),
            stop_signal: config.stop_signal,
        };
        let revision = Revision {
            digest: digest(&run, &settings),
            language: LANGUAGE.into(),
            run: Run::Image(Box::new(run)),
            settings,
            built_at: SystemTime::now(),
        };
        self.remember(&revision);
        Ok(revision)
    }

    /// The image of this name: what was made here is used as it is, all else is asked for anew,
    /// and an earlier copy does when its registry is away.
    pub(crate) async fn obtain(
        &self,
        name: &ImageRef,
        platform: &Platform,
        events: &Events,
    ) -> Result<Image, ImageError> {
        let here = self.store.tagged(name);
        let from_here = |digest: &Digest| {
            let (store, digest) = (Arc::clone(&self.store), digest.clone());
            let (platform, name) = (platform.clone(), name.to_string());
            blocking(move || complete(&store, &digest, &platform, &name))
        };
        if let Some(tagged) = here
            .as_ref()
            .filter(|tagged| tagged.origin == Origin::Local)
        {
            return from_here(&tagged.digest).await;
        }
        // A digest never means anything else: no registry has to be asked.
        if let Some(digest) = name.digest()
            && let Ok(image) = from_here(&digest).await
        {
            return Ok(image);
        }
        if name.registry() == OWN_REGISTRY {
            return Err(ImageError::NotHere(name.clone()));
        }
        step(events, format!("pulling {name}"));
        let pulled = self
            .client
            .pull(&self.store, name, platform, &progress(events))
            .await;
        match (pulled, here) {
            (Ok(pulled), _) => Ok(pulled.image),
            (Err(ImageError::Registry(error)), Some(tagged)) if error.is_absence() => {
                step(events, format!("{error}; using the copy on this machine"));
                from_here(&tagged.digest).await
            }
            (Err(error), _) => Err(error),
        }
    }

    /// What was pushed to this machine is here, under one name whichever was pushed to.
    fn own_name(&self, name: ImageRef) -> ImageRef {
        let own = match &self.registry {
            Some(registry) => registry.own_name(&name),
            None => own_name(&name, &[]),
        };
        match own {
            // Built or loaded under this very name.
            Some(_) if self.store.tagged(&name).is_some() => name,
            Some(own) => own,
            None => name,
        }
    }

    pub(crate) fn remember(&self, revision: &Revision) {
        if let Run::Image(run) = &revision.run
            && let Ok(manifest) = run.manifest.parse()
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(revision.digest.clone(), manifest);
        }
    }
}

impl Control {
    /// Manifests that functions run, or replicas on their way out.
    pub(crate) async fn images_in_use(
        &self,
    ) -> Result<BTreeSet<Digest>, hob_model::port::EngineError> {
        let mut in_use = BTreeSet::new();
        let observed: Vec<Observed> = self.engine.observe().await?;
        let running: BTreeSet<&str> = observed
            .iter()
            .flat_map(|one| {
                one.instances
                    .iter()
                    .map(|instance| instance.revision.as_str())
            })
            .collect();
        let functions = self.deployed.all();
        let mut seen = self
            .images
            .seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for function in &functions {
            if let Run::Image(run) = &function.revision.run {
                in_use.extend(run.manifest.parse::<Digest>());
            }
        }
        seen.retain(|revision, _| running.contains(revision.as_str()));
        in_use.extend(seen.values().cloned());
        Ok(in_use)
    }

    /// Gives back what nobody needs any more; nothing that cannot be had again.
    pub(crate) async fn tidy_images(self: Arc<Self>) {
        match self.prune_images(Pruning::Unreachable).await {
            Ok(pruned) if pruned.bytes > 0 => {
                tracing::info!(bytes = pruned.bytes, "images were tidied up");
            }
            Ok(_) => {}
            // Somebody works with images: the next time will do.
            Err(error) => tracing::debug!(%error, "images were not tidied up"),
        }
    }

    /// Gives back what no name and no function needs.
    pub(crate) async fn prune_images(
        &self,
        pruning: Pruning,
    ) -> Result<Pruned, crate::images::PruneError> {
        let in_use = self.images_in_use().await?;
        Ok(self.images.store.prune(in_use, pruning).await?)
    }
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    #[error(transparent)]
    Engine(#[from] hob_model::port::EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
}

/// The image, if every blob of it is here.
fn complete(
    store: &ImageStore,
    digest: &Digest,
    platform: &Platform,
    name: &str,
) -> Result<Image, ImageError> {
    let image = store.image(digest, platform, name)?;
    match image.missing(store) {
        None => Ok(image),
        Some(blob) => Err(ImageError::NoBlob(blob)),
    }
}

fn port(settings: &BTreeMap<String, String>, image: &BTreeMap<String, String>) -> u16 {
    let of = |env: &BTreeMap<String, String>| {
        let mut named = PORT_VARIABLES.iter().filter_map(|name| env.get(*name));
        named.find_map(|text| text.parse().ok().filter(|port| *port > 0))
    };
    of(settings).or_else(|| of(image)).unwrap_or(PORT)
}

fn digest(run: &ImageRun, settings: &Settings) -> String {
    // Names and numbers only: this always is JSON.
    let json = serde_json::to_vec(&(run, settings)).unwrap_or_default();
    Digest::of(&json).hex().to_owned()
}

fn step(events: &Events, text: String) {
    events.push(DeployEvent::Step { text });
}

pub(crate) fn progress(events: &Events) -> Progress {
    let events = events.clone();
    Arc::new(move |text| events.push(DeployEvent::Output { text }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    crate::control::blocking(&tokio::runtime::Handle::current(), work).await
}
