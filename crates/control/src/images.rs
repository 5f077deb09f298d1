//! From the name of an image to a revision that the engine can run.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use hob_image::{
    Digest, Image, ImageError, ImageRef, ImageStore, Needed, Origin, Platform, Progress, Pruned,
    Pruning, RegistryClient, RunConfig,
};
use hob_model::{
    FunctionName, ImageRun, Revision, Run, Settings,
    port::{EngineError, Observed},
    wire::{DeployEvent, DeployStage, FunctionImage},
};
use hob_store::StoreError;

use crate::{
    Control, KnownRegistries, OWN_REGISTRY, Registry, control::on_disk, events::Events, own_name,
};

/// Where the functions of OpenFaaS serve HTTP.
const PORT: u16 = 8080;
/// Variables with another port: the first is of OpenFaaS's watchdog.
const PORT_VARIABLES: [&str; 2] = ["port", "PORT"];
/// What `hob list` shows in place of a language.
const LANGUAGE: &str = "image";

/// The images of this machine and the way to others.
pub(crate) struct Images {
    pub(crate) store: Arc<ImageStore>,
    pub(crate) client: Arc<RegistryClient>,
    pub(crate) registries: Arc<KnownRegistries>,
    /// Knows under which names this machine is pushed to.
    registry: Option<Arc<Registry>>,
    /// Images of revisions that run or have run, by the revision's digest: a replica that is on its
    /// way out still needs its layers.
    seen: Mutex<HashMap<String, Box<ImageRun>>>,
}

// === impl Images ===

impl Images {
    pub(crate) fn new(
        store: Arc<ImageStore>,
        registries: Arc<KnownRegistries>,
        client: Arc<RegistryClient>,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        Self {
            registry,
            store,
            client,
            registries,
            seen: Mutex::default(),
        }
    }

    /// Gets the image and everything that it needs to run. The caller holds the store.
    pub(crate) async fn revision(
        &self,
        asked: &str,
        settings: Settings,
        events: &Events,
    ) -> Result<Revision, ImageError> {
        let name = self.own_name(asked.parse()?);
        let image = self.obtain(&name, &Platform::host(), events).await?;
        step(events, format!("unpacking {name}"));
        let layers = self.store.unpack(&image).await?;
        let (checked, found, folders) = (image.clone(), name.clone(), layers.clone());
        let config = on_disk(move || RunConfig::of(&checked, &folders, &found)).await?;
        let run = ImageRun {
            image: asked.to_owned(),
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
            bundle: String::new(),
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
            on_disk(move || complete(&store, &digest, &platform, &name))
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

    /// Whether there is an image of this name on the machine.
    pub(crate) fn is_here(&self, name: ImageRef) -> bool {
        self.store.tagged(&self.own_name(name)).is_some()
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

    /// Keeps what a revision needs until none of its replicas is left.
    pub(crate) fn remember(&self, revision: &Revision) {
        if let Run::Image(run) = &revision.run {
            self.seen().insert(revision.digest.clone(), run.clone());
        }
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Box<ImageRun>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Control {
    /// Forgets the revisions of which no replica is left. Whoever removes images does this first.
    pub(crate) async fn forget_ended(&self) -> Result<(), EngineError> {
        let observed: Vec<Observed> = self.engine.observe().await?;
        let instances = observed.iter().flat_map(|one| &one.instances);
        let running: BTreeSet<&str> = instances
            .map(|instance| instance.revision.as_str())
            .collect();
        self.images
            .seen()
            .retain(|revision, _| running.contains(revision.as_str()));
        Ok(())
    }

    /// Unpacks what is gone of the layers of a function's revision, if its blobs are still here.
    pub(crate) async fn mend_layers(&self, name: &FunctionName, revision: &Revision) {
        let Run::Image(run) = &revision.run else {
            return;
        };
        // hob has written it down itself.
        let Ok(digest) = run.manifest.parse::<Digest>() else {
            return;
        };
        let _hold = self.images.store.hold().await;
        let mended = async {
            let (store, image) = (Arc::clone(&self.images.store), run.image.clone());
            let image = on_disk(move || store.image(&digest, &Platform::host(), &image)).await?;
            self.images.store.unpack(&image).await
        };
        if let Err(error) = mended.await {
            tracing::warn!("function `{name}`: {error}: deploy it again");
        }
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

    /// Gives back what no name, no function and no kept revision needs.
    pub(crate) async fn prune_images(&self, pruning: Pruning) -> Result<Pruned, PruneError> {
        self.forget_ended().await?;
        let pruned = self.images.store.prune(self.needed_images(), pruning);
        pruned.await
    }

    /// Finds out, on the disk, what of images functions and their kept revisions need, and replicas
    /// that may be on their way out.
    pub(crate) fn needed_images<E: From<StoreError>>(
        &self,
    ) -> impl FnOnce() -> Result<Needed, E> + Send + use<E> {
        let (store, images) = (self.store.clone(), Arc::clone(&self.images));
        move || {
            let mut runs = store.needed_images()?;
            runs.extend(images.seen().values().cloned().map(Run::Image));
            let mut needed = Needed::default();
            for run in &runs {
                let Run::Image(run) = run else { continue };
                needed.manifests.extend(run.manifest.parse::<Digest>());
                let layers = run.layers.iter();
                let layers =
                    layers.filter_map(|layer| format!("sha256:{layer}").parse::<Digest>().ok());
                needed.layers.extend(layers);
            }
            Ok(needed)
        }
    }
}

/// Why nothing was pruned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PruneError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The image that a function runs, for people.
pub(crate) fn image_of(run: &Run) -> Option<FunctionImage> {
    match run {
        Run::Image(run) => Some(FunctionImage {
            name: run.image.clone(),
            manifest: run.manifest.clone(),
        }),
        Run::Process { .. } | Run::Static { .. } => None,
    }
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
    let stage = DeployStage::Building;
    events.push(DeployEvent::Step { stage, text });
}

pub(crate) fn progress(events: &Events) -> Progress {
    let events = events.clone();
    Arc::new(move |text| events.push(DeployEvent::Output { text }))
}
