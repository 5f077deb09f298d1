//! From a built folder to the layers of an image and how it runs.

use std::{collections::BTreeMap, io, path::Path};

use hob_image::{Image, ImageRef, ImageStore, Layer, LayerFiles, Platform, RunSettings};
use hob_model::{FunctionName, port::BuildError};
use hob_sandbox::CAGE_UID;

use super::{
    base::{refusal, variable},
    foundation,
    machine::{self, Start},
};
use crate::build::{
    builder::Opened,
    detect::{Found, Shape},
};

/// The function's folder in an image.
const FOLDER: &str = "function";
/// Where functions listen in an image.
const PORT: u16 = 8080;
/// Where secrets are mounted, as in an exported function.
const SECRETS: &str = "/run/secrets";
/// Files that only hob reads.
const OURS: [&str; 3] = ["hob.toml", ".hobignore", ".gitignore"];

/// A folder that is built for one platform.
pub(super) struct Pieces<'a> {
    pub(super) folder: &'a Path,
    pub(super) opened: &'a Opened,
    pub(super) function: &'a FunctionName,
    pub(super) platform: &'a Platform,
    pub(super) base: Option<(&'a ImageRef, &'a Image)>,
}

// === impl Pieces ===

impl Pieces<'_> {
    /// Refuses what would be a wrong image.
    pub(super) fn check(&self) -> Result<(), BuildError> {
        machine::check(self.folder, self.platform, &|path| self.keeps(path))?;
        if self.base.is_none() {
            self.check_program()?;
        }
        self.check_socket()
    }

    /// What comes on top of the base: dependencies in one layer, and above it the rest, which
    /// is all that changes from build to build.
    pub(super) fn layers(&self, store: &ImageStore) -> Result<Vec<Layer>, BuildError> {
        let host = |error: io::Error| BuildError::Host(format!("cannot read the result: {error}"));
        let installed = self.installed();
        let (mut below, mut above) = (LayerFiles::default(), LayerFiles::default());
        if self.base.is_none() {
            foundation::add(&mut below);
        }
        let is_installed = |path: &Path| installed.is_some_and(|folder| path.starts_with(folder));
        if installed.is_some() {
            let keep = |path: &Path| is_installed(path);
            below.tree(self.folder, FOLDER, &keep).map_err(host)?;
        }
        let keep = |path: &Path| !is_installed(path) && self.keeps(path);
        above.tree(self.folder, FOLDER, &keep).map_err(host)?;
        let mut layers = Vec::new();
        for (title, files) in [("dependencies", below), ("function", above)] {
            if !files.is_empty() {
                let layer = store.write_layer(title, &files);
                layers.push(layer.map_err(|error| refusal("image", error))?);
            }
        }
        Ok(layers)
    }

    pub(super) fn settings(&self) -> RunSettings {
        let program = self.opened.found.program();
        let memory = self.opened.manifest.limits.memory.0;
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), "/tmp".to_owned()),
            ("HOB_MEMORY".to_owned(), memory.to_string()),
            ("HOB_SECRETS".to_owned(), SECRETS.to_owned()),
        ]);
        env.extend(program.iter().flat_map(|program| program.env.clone()));
        env.extend(self.opened.manifest.env.clone());
        env.insert("HOST".into(), "0.0.0.0".into());
        env.insert("PORT".into(), PORT.to_string());
        let path = self.base.and_then(|(_, image)| variable(image, "PATH"));
        if let (Some(own), Some(path)) = (env.get_mut("PATH"), path) {
            *own = joined(own, &path);
        }
        let mut labels = BTreeMap::from([(label("title"), self.function.name().to_owned())]);
        if let Some((name, image)) = self.base {
            labels.insert(label("base.name"), name.to_string());
            labels.insert(label("base.digest"), image.digest.to_string());
        }
        RunSettings {
            entrypoint: absolute(argv(&self.opened.found)),
            env,
            working_dir: format!("/{FOLDER}"),
            user: format!("{CAGE_UID}:{CAGE_UID}"),
            port: PORT,
            labels,
        }
    }

    /// Without a base there is nothing but the function's own files to run.
    fn check_program(&self) -> Result<(), BuildError> {
        let argv = argv(&self.opened.found);
        let program = argv.first().map_or("", String::as_str);
        let cure = "name a base with --base, or with `base` below `[image]` in hob.toml";
        let refuse = |why: &str| {
            let text = format!("`{program}` {why}, and the image has no base: {cure}");
            Err(BuildError::Refused(text))
        };
        let own = program.strip_prefix(&format!("/{FOLDER}/"));
        let path = match own.unwrap_or(program) {
            path if path.starts_with('/') || !path.contains('/') => {
                return refuse("is no file of the function's folder");
            }
            path => self.folder.join(path),
        };
        match machine::start(&path) {
            Ok(Some(Start::Static)) => Ok(()),
            Ok(Some(Start::Dynamic)) => refuse("needs shared libraries"),
            Ok(Some(Start::Script)) => refuse("needs an interpreter"),
            Ok(None) => refuse("is no program"),
            Err(_) => refuse("is no file that the build made"),
        }
    }

    /// Refuses a `run` that listens where only hob tells it to.
    fn check_socket(&self) -> Result<(), BuildError> {
        let argv = argv(&self.opened.found);
        let says = |name: &str| argv.iter().any(|word| word.contains(name));
        let given = self.opened.manifest.env.contains_key("HOB_SOCKET");
        if !says("HOB_SOCKET") || says("PORT") || given {
            return Ok(());
        }
        let text = "`run` listens on $HOB_SOCKET only, which an image does not have: let it listen on $HOST:$PORT where that is not set";
        Err(BuildError::Refused(text.into()))
    }

    /// The folder of dependencies, if there is one.
    fn installed(&self) -> Option<&Path> {
        let template = self.opened.found.template.as_ref()?;
        let folder = &template.recipe.dependencies.as_ref()?.folder;
        let there = self.folder.join(folder).symlink_metadata();
        there
            .is_ok_and(|data| data.is_dir())
            .then(|| Path::new(folder.as_str()))
    }

    /// Whether a file of the folder is of use in the image.
    fn keeps(&self, path: &Path) -> bool {
        if self
            .installed()
            .is_some_and(|folder| path.starts_with(folder))
        {
            return true;
        }
        if OURS.iter().any(|name| path == Path::new(name)) {
            return false;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let template = self.opened.found.template.as_ref();
        let useless = template.map(|template| &template.recipe.image.leave_out);
        !useless
            .into_iter()
            .flatten()
            .any(|pattern| fits(&name, pattern))
    }
}

/// What starts the function.
fn argv(found: &Found) -> &[String] {
    match &found.shape {
        Shape::Server(Some(argv)) => argv,
        _ => found.program().map_or(&[], |program| &program.argv),
    }
}

/// The program of the folder by its full path: not every runtime looks in the working folder.
fn absolute(argv: &[String]) -> Vec<String> {
    let mut argv = argv.to_vec();
    if let Some(program) = argv.first_mut()
        && program.contains('/')
        && !program.starts_with('/')
    {
        *program = format!("/{FOLDER}/{}", program.trim_start_matches("./"));
    }
    argv
}

/// The folders of `own`, and those of `base` that it has not.
fn joined(own: &str, base: &str) -> String {
    let known: Vec<_> = own.split(':').collect();
    let more = base.split(':').filter(|folder| !known.contains(folder));
    known
        .iter()
        .copied()
        .chain(more)
        .collect::<Vec<_>>()
        .join(":")
}

fn label(name: &str) -> String {
    format!("org.opencontainers.image.{name}")
}

/// Whether a name fits a pattern with at most one `*`.
fn fits(name: &str, pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => name == pattern,
        Some((begin, end)) => {
            name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_folder_gets_its_full_path() {
        let of = |argv: &[&str]| {
            absolute(
                &argv
                    .iter()
                    .map(|part| (*part).to_owned())
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&["./program", "x"]), ["/function/program", "x"]);
        assert_eq!(of(&["bin/that"]), ["/function/bin/that"]);
        assert_eq!(of(&["python3", "a/b.py"]), ["python3", "a/b.py"]);
        assert_eq!(of(&["/bin/sh"]), ["/bin/sh"]);
    }

    #[test]
    fn the_folders_of_the_base_stay_on_the_path() {
        assert_eq!(
            joined(".deps/bin:/bin", "/opt/bin:/bin"),
            ".deps/bin:/bin:/opt/bin"
        );
        assert!(fits("main.go", "*.go") && fits("go.mod", "go.mod"));
        assert!(!fits("go", "*.go") && !fits("x.gox", "*.go"));
    }
}
