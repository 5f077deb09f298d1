//! Installs what a function depends on, once for each list of dependencies.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hob_model::port::{BuildError, BuildLine};
use sha2::{Digest, Sha256};

use super::{
    bench::Workbench,
    detect::has_any,
    template::{Dependencies, Template, When},
    tree::{FileTimes, Sharing, Tree, add_field, copy_tree, hex, sync_folder},
    workplace::give_to_cage,
};

/// Bytes of a file that names dependencies.
const MAX_LIST: u64 = 16 << 20;

/// The dependency folder of a bundle, the same for all builds with the same list.
#[derive(Debug)]
pub(crate) struct Installed {
    /// Name of the folder in the bundle.
    pub(crate) folder: String,
    /// Digest of all that is in it.
    pub(crate) digest: String,
}

/// What there is to install, before it is.
pub(crate) struct Wanted<'a> {
    dependencies: &'a Dependencies,
    language: &'a str,
    /// Files that name dependencies, as they are in the folder.
    files: Vec<(String, Vec<u8>)>,
}

// === impl Wanted ===

impl<'a> Wanted<'a> {
    /// What the function in `folder` wants; `None` when it wants nothing.
    pub(crate) fn look(
        template: &'a Template,
        kind: When,
        folder: &Path,
    ) -> Result<Option<Self>, BuildError> {
        let Some(dependencies) = &template.recipe.dependencies else {
            return Ok(None);
        };
        if !dependencies.when.holds(kind, true) || !has_any(folder, &dependencies.files) {
            return Ok(None);
        }
        let mut files = Vec::new();
        for pattern in dependencies.files.iter().chain(&dependencies.key) {
            for name in matching(folder, pattern) {
                let path = folder.join(&name);
                if fs::metadata(&path).is_ok_and(|data| data.len() > MAX_LIST) {
                    return Err(BuildError::Refused(format!(
                        "`{name}` is too long for a list of dependencies"
                    )));
                }
                if let Ok(content) = fs::read(&path) {
                    files.push((name, content));
                }
            }
        }
        Ok(Some(Self {
            dependencies,
            language: template.name(),
            files,
        }))
    }

    /// Names what is cached: the list, the tools, and the folder itself where the list refers to it.
    /// The rest of the folder may change what an installation does, so no two functions share one.
    fn key(&self, bench: &Workbench<'_>) -> io::Result<String> {
        let mut hash = Sha256::new();
        add_field(&mut hash, bench.function.qualified().as_bytes());
        for (name, value) in bench.env {
            add_field(&mut hash, name.as_bytes());
            add_field(&mut hash, value.as_bytes());
        }
        add_field(&mut hash, self.language.as_bytes());
        add_field(&mut hash, self.dependencies.install.as_bytes());
        bench.toolchain.fingerprint(&mut hash);
        for (name, content) in &self.files {
            add_field(&mut hash, name.as_bytes());
            add_field(&mut hash, content);
        }
        let texts: Vec<_> = self
            .files
            .iter()
            .map(|(_, text)| String::from_utf8_lossy(text))
            .collect();
        let local = |mark: &String| texts.iter().any(|text| text.contains(mark.as_str()));
        if self.dependencies.local.iter().any(local) {
            Tree::read(&bench.place.function(), None)?.digest(&mut hash)?;
        }
        Ok(hex(hash))
    }

    /// Puts the dependencies into the function's folder: from `cache`, or by installing them.
    pub(crate) fn install(
        &self,
        bench: &Workbench<'_>,
        cache: &Path,
        sharing: Sharing,
    ) -> Result<Option<Installed>, BuildError> {
        let host = |error: io::Error| {
            BuildError::Host(format!("dependencies of {}: {error}", self.language))
        };
        let kept = cache.join(self.key(bench).map_err(host)?);
        let place = bench.place.function().join(&self.dependencies.folder);
        // What was uploaded was made for another machine.
        remove(&place).map_err(host)?;
        if !kept.exists() {
            self.make(bench, &place, &kept)?;
        } else {
            (bench.log)(BuildLine::Step(format!(
                "{}: dependencies are unchanged",
                self.language
            )));
        }
        let copied = copy_tree(&kept.join("tree"), &place, sharing);
        copied.map_err(host)?;
        if sharing == Sharing::Copied {
            give_to_cage(&place).map_err(host)?;
            return Ok(None);
        }
        Ok(Some(Installed {
            folder: self.dependencies.folder.clone(),
            digest: fs::read_to_string(kept.join("digest")).map_err(host)?,
        }))
    }

    fn make(&self, bench: &Workbench<'_>, place: &Path, kept: &Path) -> Result<(), BuildError> {
        let doing = format!("{}: installing {}", self.language, self.files[0].0);
        (bench.log)(BuildLine::Step(doing.clone()));
        bench.run(&doing, &self.dependencies.install)?;
        // Not through a link, which could lead anywhere on this machine.
        if !fs::symlink_metadata(place).is_ok_and(|data| data.is_dir()) {
            return Err(BuildError::Failed(format!(
                "{doing} made no folder {}",
                self.dependencies.folder
            )));
        }
        self.keep(bench, place, kept)
            .map_err(|error| BuildError::Host(format!("{doing}: cannot keep the result: {error}")))
    }

    /// Moves what was installed into the cache, whole and durable or not at all.
    fn keep(&self, bench: &Workbench<'_>, place: &Path, kept: &Path) -> io::Result<()> {
        let mut tree = Tree::read(place, None)?;
        tree.check_size()?;
        tree.drop_odd_files()?;
        tree.normalise(FileTimes::Fixed)?;
        let mut hash = Sha256::new();
        tree.digest(&mut hash)?;
        let ready: PathBuf = bench.place.file("dependencies");
        fs::create_dir(&ready)?;
        fs::rename(place, ready.join("tree"))?;
        fs::write(ready.join("digest"), hex(hash))?;
        Tree::read(&ready, None)?.sync()?;
        let cache = kept.parent().unwrap_or(kept);
        fs::create_dir_all(cache)?;
        match fs::rename(&ready, kept) {
            // Another build was quicker with the same list.
            Err(_) if kept.exists() => Ok(()),
            done => done,
        }?;
        sync_folder(cache)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// Files at the top of `folder` that match a name with at most one `*`.
fn matching(folder: &Path, pattern: &str) -> Vec<String> {
    let Some((begin, end)) = pattern.split_once('*') else {
        return if folder.join(pattern).is_file() {
            vec![pattern.to_owned()]
        } else {
            Vec::new()
        };
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let fits = |name: &String| {
        name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
    };
    let mut names: Vec<_> = names.filter(fits).collect();
    names.sort();
    names
}
