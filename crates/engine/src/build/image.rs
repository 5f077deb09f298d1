//! From a folder to an image for several platforms, in the machine's own store.
//!
//! For each platform the folder goes through the steps of a deploy, with the platform as their
//! target: `base` (what it stands on) → unpack, look, tools in cages → `machine` (is every
//! program for it?) → `pieces` (layers, and how it runs). A Dockerfile goes to another tool
//! (`dockerfile`), and what comes of it is taken over.

mod base;
mod deployed;
mod dockerfile;
mod foundation;
mod machine;
mod pieces;
mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use hob_image::{
    Assembled, Assembly, DockerfileOrder, Dockerfiles, Image, ImageBuilder, ImageOrder, ImageRef,
    ImageStore, MadeImage, MadePlatform, Origin, Platform, Progress, RegistryClient, Tagged,
};
use hob_model::{
    Function, ImageRun, Run, Settings,
    port::{BuildError, BuildLine, BuildLog, Packing, Source},
};
use tokio::sync::OwnedSemaphorePermit;

use self::{
    base::{Bases, refusal},
    dockerfile::Dockerfile,
    machine::Machine,
    pieces::Pieces,
    plan::Plan,
};
use super::{FolderBuilder, builder::Shared, target::Target, template::ImageRecipe};

/// Platforms of one image.
pub(crate) const MAX_PLATFORMS: usize = 8;

/// Makes images of folders. Cheap to clone.
#[derive(Clone)]
pub struct ImageMaker {
    builder: FolderBuilder,
    store: Arc<ImageStore>,
    registry: Arc<RegistryClient>,
}

/// What the builds of one order for its platforms have in common.
struct Work {
    source: Source,
    base: Option<ImageRef>,
    recipe: Box<ImageRecipe>,
    /// What the function is set to by now, where it is deployed: its folder's `hob.toml` says what
    /// it was at first.
    settings: Option<Settings>,
    log: BuildLog,
}

// === impl ImageMaker ===

impl ImageMaker {
    /// Builds with the tools of `builder` into `store`, with bases from `registry`.
    pub fn new(
        builder: FolderBuilder,
        store: Arc<ImageStore>,
        registry: Arc<RegistryClient>,
    ) -> Self {
        Self {
            builder,
            store,
            registry,
        }
    }

    /// Runs work that waits for the disk and for tools, when it is its turn.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared, &ImageStore) -> Result<T, BuildError> + Send + 'static,
    ) -> Result<T, BuildError> {
        let (shared, store) = (Arc::clone(&self.builder.shared), Arc::clone(&self.store));
        let turn = self.turn().await?;
        let task = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&shared, &store)
        });
        task.await
            .unwrap_or_else(|error| Err(BuildError::Host(format!("the build broke down: {error}"))))
    }

    /// Waits until fewer builds are under way than may be at once.
    async fn turn(&self) -> Result<OwnedSemaphorePermit, BuildError> {
        let turn = Arc::clone(&self.builder.shared.turns).acquire_owned().await;
        turn.map_err(|error| BuildError::Host(error.to_string()))
    }

    fn bases<'a>(&'a self, log: &'a BuildLog) -> Bases<'a> {
        Bases {
            store: &self.store,
            registry: &self.registry,
            log,
        }
    }

    /// Lets the folder in and decides.
    async fn plan(
        &self,
        source: &Source,
        base: Option<ImageRef>,
        dockerfile: &Dockerfiles,
    ) -> Result<Plan, BuildError> {
        let source = source.clone();
        let asks = matches!(dockerfile, Dockerfiles::Asked(_));
        let plan = self.blocking(move |shared, _| match asks {
            true => Plan::dockerfile(shared, &source),
            false => Plan::look(shared, &source, base),
        });
        match (plan.await?, dockerfile) {
            (Plan::Dockerfile(_), Dockerfiles::Refused) => Err(BuildError::Refused(
                "the steps of a Dockerfile run with the rights of the server: build it with the admin password, or with a token of scope `admin`".into(),
            )),
            (plan, _) => Ok(plan),
        }
    }

    /// Builds a function for each platform.
    async fn function(
        &self,
        work: Work,
        platforms: &[Platform],
    ) -> Result<Vec<Assembled>, BuildError> {
        let bases = match &work.base {
            Some(name) => {
                let found = self.bases(&work.log).find(name, platforms).await?;
                found.into_iter().map(Some).collect()
            }
            None => vec![None; platforms.len()],
        };
        let work = Arc::new(work);
        let mut made = Vec::new();
        for (platform, base) in platforms.iter().cloned().zip(bases) {
            let work = Arc::clone(&work);
            let one = move |shared: &Shared, store: &ImageStore| {
                work.build(shared, store, &platform, base.as_ref())
            };
            made.push(self.blocking(one).await?);
        }
        Ok(made)
    }

    async fn push(&self, tagged: &Tagged, log: &BuildLog) -> Result<u64, BuildError> {
        let name = &tagged.name;
        log(BuildLine::Step(format!("pushing {name}")));
        let log = BuildLog::clone(log);
        let progress: Progress = Arc::new(move |line| log(BuildLine::Output(line)));
        let pushed = self
            .registry
            .push(&self.store, &tagged.digest, name, &progress);
        let kept = "the image is built and stays on this machine";
        pushed.await.map_err(|error| refusal(kept, error))
    }
}

#[async_trait]
impl ImageBuilder for ImageMaker {
    async fn build_image(
        &self,
        source: Source,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError> {
        self.make(source, None, order, log).await
    }

    async fn export_image(
        &self,
        function: &Function,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError> {
        let revision = function.revision.clone();
        if let Run::Image(run) = &revision.run {
            let _in_use = self.store.hold().await;
            return self.name_again(run, order, &log).await;
        }
        let archive = self.blocking(move |shared, _| shared.pack_bundle(&revision));
        let archive = archive.await?;
        let source = Source {
            function: function.name.clone(),
            archive: archive.path().to_owned(),
            packing: Packing::Folder,
        };
        let settings = Some(function.revision.settings.clone());
        self.make(source, settings, order, log).await
    }
}

// === impl ImageMaker ===

impl ImageMaker {
    async fn make(
        &self,
        source: Source,
        settings: Option<Settings>,
        order: ImageOrder,
        log: BuildLog,
    ) -> Result<MadeImage, BuildError> {
        let platforms = platforms(&order)?;
        // Blobs that no name points to yet must not be pruned.
        let _in_use = self.store.hold().await;
        let plan = self.plan(&source, order.base, &order.dockerfile).await?;
        let dockerfile = match order.dockerfile {
            Dockerfiles::Asked(dockerfile) => dockerfile,
            Dockerfiles::Allowed | Dockerfiles::Refused => DockerfileOrder::default(),
        };
        let made = match plan {
            Plan::Function { base, recipe } => {
                let log = BuildLog::clone(&log);
                let work = Work {
                    source,
                    base,
                    recipe,
                    settings,
                    log,
                };
                self.function(work, &platforms).await?
            }
            Plan::Dockerfile(place) => {
                let _turn = self.turn().await?;
                let config = &self.builder.shared.config;
                let file = Dockerfile::new(&place, config, &log, &dockerfile)?;
                file.build(&self.bases(&log), &platforms).await?
            }
        };
        let parts: Vec<_> = platforms.into_iter().zip(made).collect();
        self.finish(order.image, order.push, parts, &log).await
    }

    /// Gives an image that a function runs another name.
    async fn name_again(
        &self,
        run: &ImageRun,
        order: ImageOrder,
        log: &BuildLog,
    ) -> Result<MadeImage, BuildError> {
        if order.base.is_some() || order.platforms.iter().any(|one| *one != Platform::host()) {
            let text =
                "the function is an image already: it has the base and the platform that it has";
            return Err(BuildError::Refused(text.into()));
        }
        let made = run
            .manifest
            .parse()
            .map_err(|error: hob_image::DigestError| BuildError::Host(error.to_string()))
            .and_then(|digest| {
                let made = self.store.assembled(&digest, &run.image);
                made.map_err(|error| refusal("image", error))
            })?;
        let parts = vec![(Platform::host(), made)];
        self.finish(order.image, order.push, parts, log).await
    }

    /// Gives what was made its name, and sends it if that was asked for.
    async fn finish(
        &self,
        name: ImageRef,
        push: bool,
        parts: Vec<(Platform, Assembled)>,
        log: &BuildLog,
    ) -> Result<MadeImage, BuildError> {
        let top = match parts.as_slice() {
            [(_, only)] => only.clone(),
            several => {
                let index = self.store.assemble_index(several);
                index.map_err(|error| refusal("image", error))?
            }
        };
        let tagged = Tagged {
            name,
            digest: top.digest.clone(),
            media_type: top.media_type.to_owned(),
            size: top.length,
            origin: Origin::Local,
        };
        let kept = self.store.tag(tagged.clone());
        kept.map_err(|error| refusal("image", error))?;
        let sent = match push {
            true => Some(self.push(&tagged, log).await?),
            false => None,
        };
        let platforms = parts.into_iter().map(|(platform, image)| MadePlatform {
            platform,
            digest: image.digest,
            size: image.size,
        });
        Ok(MadeImage {
            digest: top.digest,
            size: top.size,
            platforms: platforms.collect(),
            sent,
        })
    }
}

// === impl Work ===

impl Work {
    /// Builds for one platform.
    fn build(
        &self,
        shared: &Shared,
        store: &ImageStore,
        platform: &Platform,
        base: Option<&Image>,
    ) -> Result<Assembled, BuildError> {
        let on = match &self.base {
            Some(name) => format!("on {name}"),
            None => "on nothing".to_owned(),
        };
        (self.log)(BuildLine::Step(format!("{platform} {on}")));
        let target = base::target(store, platform, base, &self.recipe)?;
        let place = shared.workplace()?;
        let folder = place.function();
        let mut opened = shared.open(&self.source, &folder, Some(&target))?;
        if let Some(settings) = &self.settings {
            opened.manifest.env.clone_from(&settings.env);
            opened.manifest.limits.clone_from(&settings.limits);
        }
        self.note(&target, base);
        shared.work(&opened, &place, &self.source.function, &self.log)?;
        let pieces = Pieces {
            folder: &folder,
            opened: &opened,
            function: &self.source.function,
            platform,
            base: self.base.as_ref().zip(base),
        };
        pieces.check()?;
        let assembly = Assembly {
            platform,
            base,
            layers: &pieces.layers(store)?,
            settings: &pieces.settings(),
        };
        let made = store.assemble(&assembly);
        made.map_err(|error| refusal("image", error))
    }

    /// Tells what was left to chance.
    fn note(&self, target: &Target, base: Option<&Image>) {
        let asks = self.recipe.install.is_some() && self.recipe.version.is_some();
        if base.is_some() && asks && target.version.is_empty() {
            let text = "the base does not say its version: what is installed is for this machine's";
            (self.log)(BuildLine::Output(format!("note: {text}")));
        }
    }
}

/// Those of the order, each one that hob can build for.
fn platforms(order: &ImageOrder) -> Result<Vec<Platform>, BuildError> {
    let refuse = |text: String| Err(BuildError::Refused(text));
    if order.image.digest().is_some() {
        return refuse(format!(
            "image `{}` names a digest, which only the build can know: name a tag",
            order.image
        ));
    }
    let mut platforms = order.platforms.clone();
    if platforms.is_empty() {
        platforms.push(Platform::host());
    }
    if platforms.len() > MAX_PLATFORMS {
        return refuse(format!("an image has at most {MAX_PLATFORMS} platforms"));
    }
    for (at, platform) in platforms.iter().enumerate() {
        Machine::of(platform)?;
        if platforms[..at].contains(platform) {
            return refuse(format!("platform `{platform}` is named twice"));
        }
    }
    Ok(platforms)
}
