//! A builder with a data directory of its own.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use flate2::{Compression, write::GzEncoder};
use hob_engine::{BuilderConfig, FolderBuilder, ImageMaker, Templates};
use hob_image::{ImageStore, RegistryClient};
use hob_model::{
    Function, Revision,
    port::{BuildError, BuildLine, BuildLog, Builder, Packing, Source},
};
use hob_sandbox::{Sandbox, SandboxConfig};
use tempfile::TempDir;

use crate::program::Program;

/// A builder, where it works, and folders to build.
pub(crate) struct Workshop {
    builder: FolderBuilder,
    place: TempDir,
}

/// What came of a build: the revision or the error, and all lines.
pub(crate) struct Outcome {
    pub(crate) result: Result<Revision, BuildError>,
    pub(crate) lines: Vec<BuildLine>,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut BuilderConfig)) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let place = tempfile::tempdir_in(target).unwrap();
        // Programs at level `process` reach their files as a user of their own.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let (data, tools) = (place.path().join("data"), target.join("tools"));
        fs::create_dir_all(data.join("cache")).unwrap();
        fs::create_dir_all(&tools).unwrap();
        // What tools keep for themselves is shared by all tests: a cold Go compiles its library first.
        symlink(&tools, data.join("cache/tools")).unwrap();
        let sandbox = Sandbox::new(SandboxConfig {
            helper: crate::helper::helper(),
            helper_args: vec!["cage-init".into()],
            cgroup_name: format!("hob-build-test-{}-{number}", std::process::id()),
            state: place.path().join("state"),
        });
        let mut config = BuilderConfig::new(data);
        change(&mut config);
        let builder = FolderBuilder::new(config, Arc::new(sandbox.unwrap()));
        Self { builder, place }
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    pub(crate) fn bundle(&self, revision: &Revision) -> PathBuf {
        self.data().join("bundles").join(&revision.bundle)
    }

    /// A new folder with these files; those that begin with `#!` are executable.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.place.path().join("folders").join(name);
        for (file, text) in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    /// What `hob new LANGUAGE hello` makes.
    pub(crate) fn scaffold(&self, language: &str) -> PathBuf {
        let folder = self
            .place
            .path()
            .join("folders")
            .join(format!("new-{language}"));
        let templates = Templates::built_in();
        templates
            .scaffold(language, &"hello".parse().unwrap(), &folder)
            .unwrap();
        folder
    }

    /// Builds what somebody sent.
    pub(crate) fn build_from(&self, archive: PathBuf) -> Outcome {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let log: BuildLog = {
            let lines = Arc::clone(&lines);
            Arc::new(move |line| lines.lock().unwrap().push(line))
        };
        let source = Source {
            function: "hello".parse().unwrap(),
            archive,
            packing: Packing::Folder,
        };
        let result = runtime().block_on(self.builder.build(source, log));
        let lines = std::mem::take(&mut *lines.lock().unwrap());
        Outcome { result, lines }
    }

    /// Makes images with what this builder has.
    pub(crate) fn image_maker(&self, store: Arc<ImageStore>, client: RegistryClient) -> ImageMaker {
        ImageMaker::new(self.builder.clone(), store, Arc::new(client))
    }

    pub(crate) fn build(&self, folder: &Path) -> Outcome {
        self.build_from(self.pack(folder))
    }

    pub(crate) fn pack(&self, folder: &Path) -> PathBuf {
        let archive = self.place.path().join("upload.tar.gz");
        let gzip = GzEncoder::new(fs::File::create(&archive).unwrap(), Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        tar.follow_symlinks(false);
        tar.append_dir_all("", folder).unwrap();
        tar.into_inner().unwrap().finish().unwrap();
        archive
    }

    /// Builds what has to build.
    pub(crate) fn revision(&self, folder: &Path) -> Revision {
        let outcome = self.build(folder);
        outcome
            .result
            .unwrap_or_else(|error| panic!("{error}\n{:#?}", outcome.lines))
    }

    /// Looks for a bundle.
    pub(crate) fn find(&self, start: &str) -> Option<Revision> {
        runtime().block_on(self.builder.bundle(start)).unwrap()
    }

    /// Builds a folder with these files and starts its program.
    pub(crate) fn start(&self, name: &str, files: &[(&str, &str)]) -> Program {
        let revision = self.revision(&self.folder(name, files));
        Program::start(&revision.run, &self.bundle(&revision))
    }

    pub(crate) fn export(&self, function: &Function) -> Result<PathBuf, BuildError> {
        let target = self
            .place
            .path()
            .join(format!("export-{}", function.name.name()));
        let export = self.builder.export(function, &target);
        runtime().block_on(export).map(|()| target)
    }

    pub(crate) fn assert_no_leftovers(&self) {
        let tmp = fs::read_dir(self.data().join("tmp")).unwrap();
        let left: Vec<_> = tmp.map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

impl Outcome {
    /// The message of a build that must fail.
    pub(crate) fn error(self) -> BuildError {
        match self.result {
            Ok(revision) => panic!("it was built: {revision:?}"),
            Err(error) => error,
        }
    }

    /// Everything that tools wrote.
    pub(crate) fn output(&self) -> String {
        let output = self.lines.iter().filter_map(|line| match line {
            BuildLine::Output(text) => Some(text.as_str()),
            BuildLine::Step(_) => None,
        });
        output.collect::<Vec<_>>().join("\n")
    }

    pub(crate) fn steps(&self) -> String {
        let steps = self.lines.iter().filter_map(|line| match line {
            BuildLine::Step(text) => Some(text.as_str()),
            BuildLine::Output(_) => None,
        });
        steps.collect::<Vec<_>>().join("\n")
    }
}

/// A function that runs `revision`.
pub(crate) fn function(name: &str, revision: Revision) -> Function {
    let now = SystemTime::now();
    Function {
        name: name.parse().unwrap(),
        revision,
        number: 1,
        replicas: 1,
        canary: None,
        created_at: now,
        updated_at: now,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}
