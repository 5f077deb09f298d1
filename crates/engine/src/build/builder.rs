//! The life of a build, top to bottom.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use hob_model::{
    Function, FunctionName, IoWords, Isolation, Manifest, Revision, Settings,
    port::{BuildError, BuildLine, BuildLog, Builder, Source},
};
use hob_sandbox::Sandbox;
use tokio::sync::Semaphore;

use super::{
    bench::{BUILD_TIME, Workbench},
    bundle::Built,
    collect::collect,
    dependencies::{Installed, Wanted},
    detect::{Found, Shape, read_manifest},
    record::remember,
    secret_files::SecretFiles,
    target::Target,
    template::{Template, When},
    toolchain::{Machine, SYSTEM_PATH, Toolchain},
    tree::Sharing,
    unpack::unpack,
    workplace::{Workplace, give_to_cage, make_cache},
};
use crate::{export, remove::remove_tree};

/// Builds that run at the same time; more wait for their turn.
const MAX_BUILDS: usize = 4;

/// What a [`FolderBuilder`] needs to know.
#[derive(Debug, Clone)]
pub struct BuilderConfig {
    /// The data directory; `bundles`, `cache` and `tmp` in it are used.
    pub data: PathBuf,
    /// What `~` means in templates: where hob's user keeps toolchains and settings.
    pub home: PathBuf,
    /// Folders for programs, separated by `:`.
    pub path: String,
    /// hob's own environment; tools see only what tells them how to reach their registries.
    pub environment: BTreeMap<String, String>,
    /// How tools are caged; `None` means as strong as this machine can.
    pub isolation: Option<Isolation>,
    /// How long all tools of one build may take together.
    pub timeout: Duration,
}

/// Builds folders on this machine. Cheap to clone.
#[derive(Clone)]
pub struct FolderBuilder {
    pub(super) shared: Arc<Shared>,
}

/// What all builds of a server have in common.
pub(super) struct Shared {
    pub(super) config: BuilderConfig,
    sandbox: Arc<Sandbox>,
    pub(super) turns: Arc<Semaphore>,
}

/// A folder that was let in and looked at, with everything here that its build needs.
pub(super) struct Opened {
    pub(super) manifest: Manifest,
    pub(super) found: Found,
    caches: [PathBuf; 2],
    toolchain: Toolchain,
}

// === impl BuilderConfig ===

impl BuilderConfig {
    /// The usual one: programs of the system, the home and the environment of this process.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let environment: BTreeMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = environment.get("HOME").map_or("/root", String::as_str);
        Self {
            data: data.into(),
            home: PathBuf::from(home),
            path: SYSTEM_PATH.into(),
            environment,
            isolation: None,
            timeout: BUILD_TIME,
        }
    }
}

// === impl FolderBuilder ===

impl FolderBuilder {
    /// Puts it together; nothing is touched before the first build.
    pub fn new(config: BuilderConfig, sandbox: Arc<Sandbox>) -> Self {
        let turns = Arc::new(Semaphore::new(MAX_BUILDS));
        let shared = Arc::new(Shared {
            config,
            sandbox,
            turns,
        });
        Self { shared }
    }

    /// Removes what an earlier server that was killed left half done: builds, uploads, exports. Call
    /// it before the first of them.
    ///
    /// # Errors
    /// When something does not go away.
    pub fn sweep(&self) -> io::Result<()> {
        SecretFiles::sweep(&self.shared.config.data)?;
        let entries = match fs::read_dir(self.shared.config.data.join("tmp")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_tree(&entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Whether the programs are here that build and run functions of this language, also those
    /// with dependencies. Touches nothing.
    ///
    /// # Errors
    /// `Missing` names the first one that is not here, and the package that brings it.
    pub fn check_tools(&self, template: &Template) -> Result<(), BuildError> {
        let nowhere = Path::new("");
        let machine = Machine {
            home: &self.shared.config.home,
            system_path: &self.shared.config.path,
            environment: &self.shared.config.environment,
            cache: nowhere,
            function_cache: nowhere,
        };
        Toolchain::find(Some(template), &machine, (When::Handler, true)).map(drop)
    }
}

#[async_trait]
impl Builder for FolderBuilder {
    async fn build(&self, source: Source, log: BuildLog) -> Result<Revision, BuildError> {
        let shared = Arc::clone(&self.shared);
        let turn = Arc::clone(&shared.turns).acquire_owned().await;
        let turn = turn.map_err(|error| BuildError::Host(error.to_string()))?;
        on_disk("build", move || {
            let _turn = turn;
            shared.build(&source, &log)
        })
        .await
    }

    async fn bundle(&self, start: &str) -> Result<Option<Revision>, BuildError> {
        let (shared, start) = (Arc::clone(&self.shared), start.to_owned());
        on_disk("search for a bundle", move || shared.bundle(&start)).await
    }

    async fn collect(&self, kept: BTreeSet<String>) -> Result<usize, BuildError> {
        collect(&self.shared, kept).await
    }

    async fn export(&self, function: &Function, target: &Path) -> Result<(), BuildError> {
        let bundle = self.shared.bundles().join(&function.revision.bundle);
        let (function, target) = (function.clone(), target.to_path_buf());
        on_disk("export", move || {
            export::export(&function, &bundle, &target)
        })
        .await
    }
}

/// Works on a thread that may wait for the disk.
pub(super) async fn on_disk<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> Result<T, BuildError> + Send + 'static,
) -> Result<T, BuildError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BuildError::Host(format!("the {what} broke down: {error}"))))
}

// === impl Shared ===

impl Shared {
    fn build(&self, source: &Source, log: &BuildLog) -> Result<Revision, BuildError> {
        let place = self.workplace()?;
        let built = self.build_in(&place, source, log);
        // While the workplace is there, with all that did not fit.
        built.map_err(|error| self.explain(error))
    }

    fn build_in(
        &self,
        place: &Workplace,
        source: &Source,
        log: &BuildLog,
    ) -> Result<Revision, BuildError> {
        let folder = place.function();
        let opened = self.open(source, &folder, None)?;
        let record = self
            .record(&folder, &opened.found, &opened.toolchain)
            .map_err(|error| host(&error))?;
        if let Some(revision) = self.recall(&record) {
            log(BuildLine::Step(format!("{}: unchanged", revision.language)));
            return Ok(revision);
        }
        let installed = self.work(&opened, place, &source.function, log)?;
        let built = Built {
            folder,
            found: &opened.found,
            settings: Settings::from(&opened.manifest),
            installed,
        };
        let revision = built.store(&self.bundles())?;
        remember(&record, &revision).map_err(|error| host(&error))?;
        Ok(revision)
    }

    pub(super) fn workplace(&self) -> Result<Workplace, BuildError> {
        let tmp = self.config.data.join("tmp");
        Workplace::new(&tmp).map_err(|error| {
            let (tmp, words) = (tmp.display(), IoWords(&error));
            BuildError::Host(format!("cannot work in {tmp}: {words}"))
        })
    }

    /// Lets the folder in, and finds out before any work is spent whether everything is here
    /// that the work needs. With a `target`, what is built is for that and not for this machine.
    pub(super) fn open(
        &self,
        source: &Source,
        folder: &Path,
        target: Option<&Target>,
    ) -> Result<Opened, BuildError> {
        // First, since whatever comes next looks only at what was let in.
        unpack(source, folder)?;
        let manifest = read_manifest(folder)?;
        let mut found = Found::look(folder, &manifest)?;
        if let Some(target) = target {
            found.template = found
                .template
                .map(|template| Cow::Owned(target.aim(&template)));
        }
        let caches = self.caches(source, &found);
        let wanted = wanted(&found, folder)?.is_some();
        let mut toolchain = self.toolchain(&found, &caches, wanted)?;
        toolchain
            .env
            .extend(target.into_iter().flat_map(Target::variables));
        Ok(Opened {
            manifest,
            found,
            caches,
            toolchain,
        })
    }

    /// Runs the tools in the workplace that the folder was opened in.
    pub(super) fn work(
        &self,
        opened: &Opened,
        place: &Workplace,
        function: &FunctionName,
        log: &BuildLog,
    ) -> Result<Option<Installed>, BuildError> {
        let bench = Workbench {
            sandbox: &self.sandbox,
            function,
            isolation: self.isolation(),
            toolchain: &opened.toolchain,
            place,
            caches: opened.caches.to_vec(),
            sealed: None,
            env: &opened.manifest.env,
            deadline: Instant::now() + self.config.timeout,
            log,
        };
        let wanted = wanted(&opened.found, &place.function())?;
        self.make(&bench, &opened.found, &opened.manifest, wanted)
    }

    /// Runs the tools: dependencies first, then the function's own `build`, then the template's.
    fn make(
        &self,
        bench: &Workbench<'_>,
        found: &Found,
        manifest: &Manifest,
        wanted: Option<Wanted<'_>>,
    ) -> Result<Option<Installed>, BuildError> {
        let folder = bench.place.function();
        let language = found.language();
        if found.shape == Shape::Handler {
            for file in found.template.iter().flat_map(|template| &template.shim) {
                file.write(&folder, &file.content)
                    .map_err(|error| host(&error))?;
            }
        }
        give_to_cage(&folder).map_err(|error| host(&error))?;
        for cache in &bench.caches {
            make_cache(cache).map_err(|error| host(&error))?;
        }
        let mut installed = None;
        if let Some(wanted) = wanted {
            let cache = self.config.data.join("cache/dependencies");
            installed = wanted.install(bench, &cache, sharing(bench, found, manifest))?;
        }
        let sealed = installed.as_ref().map(|installed| installed.folder.clone());
        let bench = &Workbench {
            sealed,
            ..bench.clone()
        };
        if let Some(build) = &manifest.build {
            let doing = format!("{language}: running `build` of hob.toml");
            (bench.log)(BuildLine::Step(doing.clone()));
            bench.exec(&doing, build.argv())?;
            if found.shape != Shape::Handler {
                return Ok(installed);
            }
        }
        if let Some(script) = found.program().and_then(|program| program.build.as_ref()) {
            let doing = format!("{language}: building");
            (bench.log)(BuildLine::Step(doing.clone()));
            bench.run(&doing, script)?;
        }
        Ok(installed)
    }

    fn isolation(&self) -> Isolation {
        let strongest = self.sandbox.capabilities().strongest();
        // Where nothing works, asking for the best tells what is missing for it.
        let strongest = strongest.unwrap_or(Isolation::Container);
        self.config.isolation.unwrap_or(strongest)
    }

    /// Folders that tools keep between builds: the language's, and the function's. Whatever runs
    /// in a build can write there, so what one namespace leaves behind is never met by another.
    fn caches(&self, source: &Source, found: &Found) -> [PathBuf; 2] {
        let (cache, language) = (self.config.data.join("cache"), found.language());
        let (tools, functions) = (cache.join("tools"), cache.join("functions"));
        [
            tools.join(source.function.namespace()).join(language),
            functions.join(source.function.qualified()).join(language),
        ]
    }

    fn toolchain(
        &self,
        found: &Found,
        [cache, function_cache]: &[PathBuf; 2],
        with_dependencies: bool,
    ) -> Result<Toolchain, BuildError> {
        let machine = Machine {
            home: &self.config.home,
            system_path: &self.config.path,
            environment: &self.config.environment,
            cache,
            function_cache,
        };
        Toolchain::find(
            found.template.as_deref(),
            &machine,
            (found.when(), with_dependencies),
        )
    }
}

/// What the function in `folder` wants installed.
fn wanted<'a>(found: &'a Found, folder: &Path) -> Result<Option<Wanted<'a>>, BuildError> {
    match &found.template {
        Some(template) => Wanted::look(template, found.when(), folder),
        None => Ok(None),
    }
}

fn host(error: &io::Error) -> BuildError {
    BuildError::Host(format!("the build cannot go on: {error}"))
}

/// Files in the cache may have second names in the bundle only where no tool can write or replace
/// them, and where nobody looks at what they are.
fn sharing(bench: &Workbench<'_>, found: &Found, manifest: &Manifest) -> Sharing {
    let own_build = manifest.build.is_some();
    if own_build || found.shape == Shape::Static || bench.isolation == Isolation::Process {
        Sharing::Copied
    } else {
        Sharing::Linked
    }
}
