//! One template: how a language is seen, built and started. `templates/python/template.toml` has
//! every key, annotated.

use std::{borrow::Cow, collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use hob_model::port::BuildError;
use include_dir::Dir;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::foreign;

/// A language: `template.toml`, what a new function starts with, and the shim.
#[derive(Debug, Clone)]
pub struct Template {
    pub(crate) recipe: Recipe,
    /// Copied by `hob new`; `{{function}}` becomes the function's name.
    pub(crate) function: Vec<TemplateFile>,
    /// Put beside the function's files at build.
    pub(crate) shim: Vec<TemplateFile>,
    /// `template.toml` as it is written.
    pub(crate) source: String,
}

/// A file of a template.
#[derive(Debug, Clone)]
pub(crate) struct TemplateFile {
    /// Relative, with `/`.
    pub(crate) path: String,
    pub(crate) content: Cow<'static, [u8]>,
}

/// `template.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) borrow: Vec<String>,
    #[serde(default)]
    pub(crate) tools: Vec<Tool>,
    #[serde(default)]
    pub(crate) build: Bench,
    pub(crate) dependencies: Option<Dependencies>,
    pub(crate) handler: Option<Program>,
    pub(crate) server: Option<Program>,
    #[serde(rename = "static")]
    pub(crate) site: Option<Site>,
    pub(crate) export: Option<Export>,
    #[serde(default)]
    pub(crate) image: ImageRecipe,
}

/// A program that must be on the machine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Tool {
    pub(crate) any: Vec<String>,
    pub(crate) package: String,
    #[serde(default)]
    pub(crate) when: When,
    /// Also needed where the function runs, not only where it is built.
    #[serde(default)]
    pub(crate) runs: bool,
}

/// Which functions something is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum When {
    #[default]
    Always,
    /// Those with dependencies to install.
    Dependencies,
    Handler,
    Server,
}

/// Where the tools of a build work.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Bench {
    pub(crate) path: Vec<String>,
    pub(crate) folders: Vec<String>,
    pub(crate) settings: BTreeMap<String, Vec<String>>,
    pub(crate) env: BTreeMap<String, String>,
}

/// How dependencies are installed and cached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Dependencies {
    #[serde(default)]
    pub(crate) when: When,
    pub(crate) files: Vec<String>,
    #[serde(default)]
    pub(crate) key: Vec<String>,
    #[serde(default)]
    pub(crate) local: Vec<String>,
    pub(crate) folder: String,
    pub(crate) install: String,
}

/// How one kind of function is seen, built and started.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Program {
    pub(crate) files: Vec<String>,
    pub(crate) build: Option<String>,
    #[serde(default)]
    pub(crate) argv: Vec<String>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

/// A folder of files with no program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Site {
    pub(crate) files: Vec<String>,
}

/// How a function of this language goes elsewhere.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Export {
    pub(crate) image: String,
    pub(crate) install: Option<String>,
}

/// How a function of this language becomes an image, for any platform.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ImageRecipe {
    /// What it stands on; nothing means that its program needs nothing.
    pub(crate) base: Option<String>,
    /// The base's variable with the version of what runs the function there.
    pub(crate) version: Option<String>,
    /// Or the beginning of that program's name: `python` finds `bin/python3.13`.
    pub(crate) program: Option<String>,
    /// Goes before every script.
    pub(crate) prepare: String,
    /// In place of the dependencies' `install`.
    pub(crate) install: Option<String>,
    /// In place of the handler's `build`.
    pub(crate) build: Option<String>,
    /// Files that are of no use there, by name.
    pub(crate) leave_out: Vec<String>,
}

/// The folder in a function that holds its own template.
pub(crate) const OWN_TEMPLATE: &str = "template";
/// Bytes of all files of a template that comes with a function.
pub(crate) const MAX_TEMPLATE: u64 = 4 << 20;

// === impl Template ===

impl Template {
    /// Its name, which users write.
    pub fn name(&self) -> &str {
        &self.recipe.name
    }

    /// One line for people.
    pub fn description(&self) -> &str {
        &self.recipe.description
    }

    /// Files by which a folder that says nothing else of itself is seen as one of this language:
    /// any of them will do. Relative, with `/`.
    pub fn signs(&self) -> impl Iterator<Item = &str> {
        let recipe = &self.recipe;
        let handler = recipe.handler.iter().flat_map(|program| &program.files);
        let servers = recipe.server.iter();
        // With no usual program, the folder has to name one.
        let servers = servers.filter(|program| !program.argv.is_empty());
        let server = servers.flat_map(|program| &program.files);
        let site = recipe.site.iter().flat_map(|site| &site.files);
        handler.chain(server).chain(site).map(String::as_str)
    }

    /// Reads a user's own template: a folder with `template.toml`, `function/` and `shim/`.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(folder: &Path) -> Result<Self, BuildError> {
        let file = folder.join("template.toml");
        let source = fs::read_to_string(&file).map_err(|error| {
            BuildError::Refused(format!(
                "template `{}`: cannot read template.toml: {error}",
                folder.display()
            ))
        })?;
        let mut budget = MAX_TEMPLATE;
        Self::parse(source, folder)?.with_files(
            read_folder(&folder.join("function"), &mut budget)?,
            read_folder(&folder.join("shim"), &mut budget)?,
        )
    }

    /// Reads the template that the function in `folder` brings itself.
    pub(crate) fn of_function(folder: &Path) -> Result<Self, BuildError> {
        let folder = folder.join(OWN_TEMPLATE);
        foreign::check_files(&folder)?;
        let template = Self::load(&folder)?;
        foreign::check_recipe(&template.recipe)?;
        Ok(template)
    }

    /// Reads a built-in template; what it borrows is still to be added.
    pub(crate) fn embedded(dir: &'static Dir<'static>) -> Result<Self, BuildError> {
        let file = dir.get_file(dir.path().join("template.toml"));
        let source = file.and_then(|file| file.contents_utf8());
        let source = source.unwrap_or_default().to_owned();
        let mut template = Self::parse(source, dir.path())?;
        let part = |name| dir.get_dir(dir.path().join(name));
        for (name, files) in [
            ("function", &mut template.function),
            ("shim", &mut template.shim),
        ] {
            if let Some(part) = part(name) {
                collect_embedded(part, part.path(), files);
            }
        }
        Ok(template)
    }

    fn parse(source: String, folder: &Path) -> Result<Self, BuildError> {
        let recipe: Recipe = toml::from_str(&source).map_err(|error| {
            let place = folder.join("template.toml");
            BuildError::Refused(format!("{}: {}", place.display(), error.to_string().trim()))
        })?;
        Ok(Self {
            recipe,
            source,
            function: Vec::new(),
            shim: Vec::new(),
        })
    }

    fn with_files(
        mut self,
        function: Vec<TemplateFile>,
        shim: Vec<TemplateFile>,
    ) -> Result<Self, BuildError> {
        if !self.recipe.borrow.is_empty() {
            return Err(BuildError::Refused(format!(
                "template `{}`: only built-in templates can `borrow`; copy the file into shim/",
                self.name()
            )));
        }
        (self.function, self.shim) = (function, shim);
        Ok(self)
    }

    /// Changes when anything does that may change what is built.
    pub(crate) fn fingerprint(&self, hash: &mut Sha256) {
        let recipe = ("template.toml", self.source.as_bytes());
        let shim = self
            .shim
            .iter()
            .map(|file| (file.path.as_str(), file.content.as_ref()));
        for (path, content) in std::iter::once(recipe).chain(shim) {
            hash.update((path.len() as u64).to_le_bytes());
            hash.update(path);
            hash.update((content.len() as u64).to_le_bytes());
            hash.update(content);
        }
    }
}

// === impl TemplateFile ===

impl TemplateFile {
    /// Writes it below `folder`, unless a file of that name is there. Returns whether it did.
    pub(crate) fn write(&self, folder: &Path, content: &[u8]) -> std::io::Result<bool> {
        let path = folder.join(&self.path);
        if path.symlink_metadata().is_ok() {
            return Ok(false);
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content)?;
        // A template may come out of the binary, where files have no modes.
        let mode = if content.starts_with(b"#!") {
            0o755
        } else {
            0o644
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(true)
    }
}

// === impl When ===

impl When {
    /// Whether it holds for a function of such a kind.
    pub(crate) fn holds(self, kind: When, with_dependencies: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Dependencies => with_dependencies,
            other => other == kind,
        }
    }
}

fn collect_embedded(dir: &'static Dir<'static>, root: &Path, files: &mut Vec<TemplateFile>) {
    for file in dir.files() {
        let path = file.path().strip_prefix(root).unwrap_or(file.path());
        files.push(TemplateFile {
            path: path.to_string_lossy().into_owned(),
            content: Cow::Borrowed(file.contents()),
        });
    }
    for dir in dir
        .dirs()
        .filter(|dir| !dir.path().ends_with("__pycache__"))
    {
        collect_embedded(dir, root, files);
    }
}

fn read_folder(root: &Path, budget: &mut u64) -> Result<Vec<TemplateFile>, BuildError> {
    let mut files = Vec::new();
    let mut open = vec![root.to_path_buf()];
    let refuse = |path: &Path, why: &str| {
        BuildError::Refused(format!("template `{}`: {why}", path.display()))
    };
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let (path, kind) = (entry.path(), entry.file_type());
            let kind = kind.map_err(|error| refuse(&path, &error.to_string()))?;
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            let size = entry.metadata().map_or(0, |data| data.len());
            if !kind.is_file() || size > *budget {
                return Err(refuse(
                    &path,
                    "is no plain file, or too large for a template",
                ));
            }
            *budget -= size;
            let name = path.strip_prefix(root).unwrap_or(&path);
            files.push(TemplateFile {
                path: name.to_string_lossy().into_owned(),
                content: fs::read(&path)
                    .map_err(|error| refuse(&path, &error.to_string()))?
                    .into(),
            });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
