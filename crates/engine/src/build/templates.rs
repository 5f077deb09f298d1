//! The templates that come with hob, and what `hob new` does with them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use hob_model::{Label, port::BuildError};
use include_dir::{Dir, include_dir};

use super::template::{OWN_TEMPLATE, Template, TemplateFile};

static FOLDER: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../../templates");

static BUILT_IN: LazyLock<Templates> =
    LazyLock::new(|| Templates::read().expect("a test reads every built-in template"));

/// The languages that hob knows.
#[derive(Debug)]
pub struct Templates(Vec<Template>);

impl Templates {
    /// Those that come with hob, by name.
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Their names, sorted.
    pub fn names(&self) -> Vec<&str> {
        self.0.iter().map(Template::name).collect()
    }

    /// All of them, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = &Template> {
        self.0.iter()
    }

    /// The one of this name.
    pub fn find(&self, name: &str) -> Option<&Template> {
        self.0.iter().find(|template| template.name() == name)
    }

    /// What `hob new LANGUAGE NAME` does: writes a new function to `target`, which must be empty or not
    /// there. `language` is a name, or the folder of a user's own template (anything with a `/`).
    /// Returns the files written, relative to `target`.
    ///
    /// # Errors
    /// An unknown language, a template that is none, a target with something in it.
    pub fn scaffold(
        &self,
        language: &str,
        function: &Label,
        target: &Path,
    ) -> Result<Vec<PathBuf>, BuildError> {
        let own = language.contains('/');
        let loaded;
        let template = if own {
            loaded = Template::load(Path::new(language))?;
            &loaded
        } else {
            self.find(language).ok_or_else(|| self.unknown(language))?
        };
        let mut files = plain_files(template, function);
        if own {
            carry_along(template, &mut files);
        }
        write_all(&files, target)
    }

    /// The error for a language that nobody knows.
    pub(crate) fn unknown(&self, language: &str) -> BuildError {
        BuildError::Missing(format!(
            "language `{language}` is unknown: use one of {}, or the path of a template's folder such as ./{language}",
            self.names().join(", ")
        ))
    }

    fn read() -> Result<Self, BuildError> {
        let mut templates = Vec::new();
        for dir in FOLDER.dirs() {
            templates.push(Template::embedded(dir)?);
        }
        templates.sort_by(|a, b| a.name().cmp(b.name()));
        for template in &mut templates {
            for path in &template.recipe.borrow {
                let (name, file) = (path.rsplit('/').next(), FOLDER.get_file(path));
                let (Some(name), Some(file)) = (name, file) else {
                    return Err(BuildError::Missing(format!("no template has `{path}`")));
                };
                template.shim.push(TemplateFile {
                    path: name.to_owned(),
                    content: file.contents().into(),
                });
            }
        }
        Ok(Self(templates))
    }
}

/// What a function starts with, its name filled in.
fn plain_files(template: &Template, function: &Label) -> Vec<TemplateFile> {
    let fill = |file: &TemplateFile| match std::str::from_utf8(&file.content) {
        Ok(text) => TemplateFile {
            path: file.path.clone(),
            content: text
                .replace("{{function}}", function.as_str())
                .into_bytes()
                .into(),
        },
        Err(_) => file.clone(),
    };
    template.function.iter().map(fill).collect()
}

/// Adds the template itself, so that any server can build the function.
fn carry_along(template: &Template, files: &mut Vec<TemplateFile>) {
    let inside = |path: &str, content: &[u8]| TemplateFile {
        path: format!("{OWN_TEMPLATE}/{path}"),
        content: content.to_vec().into(),
    };
    let line = format!("language = \"./{OWN_TEMPLATE}\"\n");
    match files.iter_mut().find(|file| file.path == "hob.toml") {
        Some(manifest) => {
            let rest = manifest.content.to_mut();
            rest.splice(0..0, line.into_bytes());
        }
        None => files.push(TemplateFile {
            path: "hob.toml".into(),
            content: line.into_bytes().into(),
        }),
    }
    files.push(inside("template.toml", template.source.as_bytes()));
    for file in &template.shim {
        files.push(inside(&format!("shim/{}", file.path), &file.content));
    }
}

fn write_all(files: &[TemplateFile], target: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let host = |error: std::io::Error| {
        BuildError::Host(format!("cannot write `{}`: {error}", target.display()))
    };
    if fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BuildError::Refused(format!(
            "folder `{}` is not empty: choose another name, or remove it first",
            target.display()
        )));
    }
    fs::create_dir_all(target).map_err(host)?;
    let mut written = Vec::new();
    for file in files {
        file.write(target, &file.content).map_err(host)?;
        written.push(PathBuf::from(&file.path));
    }
    written.sort();
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_template_reads() {
        let templates = Templates::read().expect("valid");
        assert_eq!(
            templates.names(),
            ["bash", "go", "java", "node", "python", "rust", "static"]
        );
        for template in templates.iter() {
            assert!(!template.function.is_empty(), "{}", template.name());
            assert!(template.recipe.export.is_some(), "{}", template.name());
        }
    }

    #[test]
    fn a_full_folder_is_left_alone() {
        let folder = tempfile::tempdir().expect("temp dir");
        fs::write(folder.path().join("mine"), "x").expect("writable");
        let name = "hello".parse().expect("a label");
        let error = Templates::built_in()
            .scaffold("python", &name, folder.path())
            .expect_err("it is not empty");
        assert!(error.to_string().contains("is not empty"), "{error}");
    }
}
