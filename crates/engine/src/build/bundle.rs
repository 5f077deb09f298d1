//! From a built folder to `bundles/<digest>`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hob_model::{Revision, Run, Settings, port::BuildError};
use sha2::{Digest, Sha256};

use super::{
    dependencies::Installed,
    detect::{Found, Shape},
    record::beside,
    sound::{Content, is_damaged, note},
    tree::{FileTimes, NodeKind, Tree, add_field, hex, sync_folder},
    unpack::stays_inside,
};

/// A folder whose tools are all done.
pub(crate) struct Built<'a> {
    /// Where it is now.
    pub(crate) folder: PathBuf,
    pub(crate) found: &'a Found,
    pub(crate) settings: Settings,
    /// The folder in it that comes from the cache and is already as it should be.
    pub(crate) installed: Option<Installed>,
}

// === impl Built ===

impl Built<'_> {
    /// Makes it immutable and gives it its name.
    pub(crate) fn store(self, bundles: &Path) -> Result<Revision, BuildError> {
        let host = |error: io::Error| BuildError::Host(format!("cannot keep the bundle: {error}"));
        let skip = self
            .installed
            .as_ref()
            .map(|installed| installed.folder.as_str());
        let tree = Tree::read(&self.folder, skip).map_err(host)?;
        let run = self.run()?;
        self.check(&tree)?;
        let times = match run {
            Run::Static { .. } => FileTimes::Now,
            Run::Process { .. } | Run::Image(_) => FileTimes::Fixed,
        };
        tree.normalise(times).map_err(host)?;
        let (digest, content) = self.digest(&tree, &run).map_err(host)?;
        let home = bundles.join(&digest);
        if home.is_dir() && is_damaged(&home) {
            // It goes with the workplace; whoever runs it keeps what it has open.
            let aside = self.folder.with_file_name("damaged");
            fs::rename(&home, aside).map_err(host)?;
        }
        if !home.exists() {
            tree.sync().map_err(host)?;
            if let Some(installed) = &self.installed {
                let tree = Tree::read(&self.folder.join(&installed.folder), None).map_err(host)?;
                tree.sync_folders().map_err(host)?;
            }
            fs::create_dir_all(bundles).map_err(host)?;
            match fs::rename(&self.folder, &home) {
                // Another build of the same was quicker.
                Err(_) if home.exists() => Ok(()),
                done => done,
            }
            .map_err(host)?;
        }
        let revision = Revision {
            bundle: digest.clone(),
            digest,
            language: self.found.language().to_owned(),
            run,
            settings: self.settings,
            built_at: SystemTime::now(),
        };
        // Also when it was there: who renamed it may not have come this far.
        if !beside(&home).exists() {
            note(&home, &revision, content).map_err(host)?;
        }
        sync_folder(bundles).map_err(host)?;
        Ok(revision)
    }

    /// How the function is started.
    fn run(&self) -> Result<Run, BuildError> {
        let program = self.found.program();
        let env = program
            .map(|program| program.env.clone())
            .unwrap_or_default();
        match &self.found.shape {
            Shape::Static => self.site().map(|root| Run::Static { root }),
            Shape::Server(Some(argv)) => Ok(Run::Process {
                argv: argv.clone(),
                env,
            }),
            Shape::Handler | Shape::Server(None) => {
                let argv = program
                    .map(|program| program.argv.clone())
                    .unwrap_or_default();
                Ok(Run::Process { argv, env })
            }
        }
    }

    /// The folder of the first page that is there.
    fn site(&self) -> Result<String, BuildError> {
        let site = self
            .found
            .template
            .as_ref()
            .and_then(|template| template.recipe.site.as_ref());
        let files = site.map(|site| site.files.as_slice()).unwrap_or_default();
        let page = files.iter().find(|file| self.folder.join(file).is_file());
        match page.map(|page| Path::new(page).parent().unwrap_or(Path::new(""))) {
            Some(folder) if folder.as_os_str().is_empty() => Ok(".".into()),
            Some(folder) => Ok(folder.to_string_lossy().into_owned()),
            None => Err(BuildError::Refused(format!(
                "there is no page: hob looks for {}",
                files.join(", ")
            ))),
        }
    }

    /// What tools may have left in the folder and no bundle can have.
    fn check(&self, tree: &Tree) -> Result<(), BuildError> {
        tree.check_size()
            .map_err(|error| BuildError::Refused(format!("what the build made: {error}")))?;
        for node in tree.entries() {
            let rule = match &node.kind {
                NodeKind::Other => "is neither file, folder nor link",
                // hob itself reads these files, outside of any cage.
                NodeKind::Link { target }
                    if self.found.shape == Shape::Static && !stays_inside(&node.path, target) =>
                {
                    "is a link out of the folder"
                }
                _ => continue,
            };
            return Err(BuildError::Refused(format!(
                "the build made `{}`, which {rule}",
                node.path.display()
            )));
        }
        Ok(())
    }

    /// The bundle's name, and by what it is known again.
    fn digest(&self, tree: &Tree, run: &Run) -> io::Result<(String, Content)> {
        let mut hash = Sha256::new();
        tree.digest(&mut hash)?;
        let installed = self.installed.as_ref();
        let content = Content {
            without: installed.map(|installed| installed.folder.clone()),
            sha256: hex(hash.clone()),
        };
        if let Some(installed) = &self.installed {
            add_field(&mut hash, installed.folder.as_bytes());
            add_field(&mut hash, installed.digest.as_bytes());
        }
        add_field(&mut hash, &serde_json::to_vec(&self.settings)?);
        add_field(&mut hash, &serde_json::to_vec(run)?);
        Ok((hex(hash), content))
    }
}
