//! Sees from the files what a folder is.

use std::{borrow::Cow, fs, io, path::Path};

use hob_model::{Manifest, port::BuildError};

use super::{
    template::{OWN_TEMPLATE, Program, Template, When},
    templates::Templates,
};

/// What a folder turned out to be.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its language; `None` is a program about which nothing else is known.
    pub(crate) template: Option<Cow<'static, Template>>,
    pub(crate) shape: Shape,
}

/// How its calls are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// By a handler that the template's shim calls.
    Handler,
    /// By a program of its own: this one, or else the template's usual one.
    Server(Option<Vec<String>>),
    /// By files.
    Static,
}

/// Bytes of a hob.toml.
const MAX_MANIFEST: u64 = 256 << 10;
/// Bytes of a Procfile that are looked at.
const MAX_PROCFILE: u64 = 64 << 10;

// === impl Found ===

impl Found {
    /// Looks at `folder`, unpacked and with its manifest read.
    pub(crate) fn look(folder: &Path, manifest: &Manifest) -> Result<Self, BuildError> {
        let run = match &manifest.run {
            Some(command) => Some(command.argv()),
            None => procfile(folder)?,
        };
        match &manifest.language {
            Some(language) => Self::named(folder, language, run),
            None => Self::guessed(folder, run),
        }
    }

    fn named(folder: &Path, language: &str, run: Option<Vec<String>>) -> Result<Self, BuildError> {
        let template = find_template(folder, language)?;
        let recipe = &template.recipe;
        let any = |program: &Option<Program>| {
            let files = program.as_ref().map(|program| &program.files);
            files.is_some_and(|files| has_any(folder, files))
        };
        let shape = if run.is_some() {
            Shape::Server(run)
        } else if any(&recipe.handler) {
            Shape::Handler
        } else if recipe
            .server
            .as_ref()
            .is_some_and(|server| !server.argv.is_empty())
            && any(&recipe.server)
        {
            Shape::Server(None)
        } else if recipe.site.is_some() {
            Shape::Static
        } else {
            let files = recipe.handler.iter().flat_map(|handler| &handler.files);
            return Err(BuildError::Refused(format!(
                "this is no {} function: it has no {}, and hob.toml has no `run = \"…\"`",
                template.name(),
                files.cloned().collect::<Vec<_>>().join(" or ")
            )));
        };
        Ok(Self {
            template: Some(template),
            shape,
        })
    }

    fn guessed(folder: &Path, run: Option<Vec<String>>) -> Result<Self, BuildError> {
        let templates = Templates::built_in();
        let with = |part: fn(&Template) -> Option<&Vec<String>>| -> Vec<&'static Template> {
            let has =
                |template: &&Template| part(template).is_some_and(|files| has_any(folder, files));
            templates.iter().filter(has).collect()
        };
        let (found, shape) = if run.is_some() {
            let mut found = with(|t| t.recipe.server.as_ref().map(|p| &p.files));
            if found.is_empty() {
                found = with(|t| t.recipe.handler.as_ref().map(|p| &p.files));
            }
            (found, Shape::Server(run))
        } else {
            let handlers = with(|t| t.recipe.handler.as_ref().map(|p| &p.files));
            let servers = with(|t| {
                let server = t.recipe.server.as_ref()?;
                (!server.argv.is_empty()).then_some(&server.files)
            });
            let sites = with(|t| t.recipe.site.as_ref().map(|site| &site.files));
            match (handlers.is_empty(), servers.is_empty()) {
                (false, _) => (handlers, Shape::Handler),
                (true, false) => (servers, Shape::Server(None)),
                (true, true) => (sites, Shape::Static),
            }
        };
        match (found.as_slice(), &shape) {
            ([], Shape::Server(_)) => Ok(Self {
                template: None,
                shape,
            }),
            ([], _) => Err(nothing()),
            ([template], _) => Ok(Self {
                template: Some(Cow::Borrowed(template)),
                shape,
            }),
            (many, _) => Err(BuildError::Refused(format!(
                "this could be {}: say which in hob.toml, such as `language = \"{}\"`",
                many.iter()
                    .map(|t| t.name())
                    .collect::<Vec<_>>()
                    .join(" or "),
                many[0].name()
            ))),
        }
    }

    /// The template's word on how to build and start this.
    pub(crate) fn program(&self) -> Option<&Program> {
        let recipe = &self.template.as_ref()?.recipe;
        match self.shape {
            Shape::Handler => recipe.handler.as_ref(),
            Shape::Server(_) => recipe.server.as_ref(),
            Shape::Static => None,
        }
    }

    /// The template's name, or `server`.
    pub(crate) fn language(&self) -> &str {
        self.template
            .as_ref()
            .map_or("server", |template| template.name())
    }

    /// For what a template's `when` asks.
    pub(crate) fn when(&self) -> When {
        match self.shape {
            Shape::Handler => When::Handler,
            Shape::Server(_) => When::Server,
            Shape::Static => When::Always,
        }
    }
}

fn find_template(folder: &Path, language: &str) -> Result<Cow<'static, Template>, BuildError> {
    let templates = Templates::built_in();
    if let Some(template) = templates.find(language) {
        return Ok(Cow::Borrowed(template));
    }
    let own = language.trim_start_matches("./").trim_end_matches('/');
    if !language.contains('/') {
        return Err(templates.unknown(language));
    }
    if own != OWN_TEMPLATE {
        return Err(BuildError::Refused(format!(
            "hob.toml: language `{language}` is not in the folder: copy the template to ./{OWN_TEMPLATE} and write `language = \"./{OWN_TEMPLATE}\"`"
        )));
    }
    Template::of_function(folder).map(Cow::Owned)
}

/// What a folder that nobody understands could become.
fn nothing() -> BuildError {
    let looked_for = Templates::built_in().iter().flat_map(Template::signs);
    let looked_for: Vec<_> = looked_for.collect();
    BuildError::Refused(format!(
        "nothing in this folder says what it is: hob looks for {}; for any other program that serves $PORT write `run = \"…\"` in hob.toml",
        looked_for.join(", ")
    ))
}

/// The `web:` line of a Procfile.
fn procfile(folder: &Path) -> Result<Option<Vec<String>>, BuildError> {
    let path = folder.join("Procfile");
    if !plain_file(&path) {
        return Ok(None);
    }
    if fs::metadata(&path).is_ok_and(|data| data.len() > MAX_PROCFILE) {
        return Err(BuildError::Refused("Procfile is too long".into()));
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| BuildError::Refused(format!("Procfile cannot be read: {error}")))?;
    let web = text.lines().find_map(|line| line.strip_prefix("web:"));
    let Some(line) = web.map(str::trim).filter(|line| !line.is_empty()) else {
        return Err(BuildError::Refused(
            "Procfile has no line such as `web: python3 app.py`".into(),
        ));
    };
    Ok(Some(hob_model::Command::Shell(line.to_owned()).argv()))
}

/// Whether one of `files` is there, as a file of the folder's own.
pub(crate) fn has_any(folder: &Path, files: &[String]) -> bool {
    files.iter().any(|file| plain_file(&folder.join(file)))
}

fn plain_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|data| data.is_file())
}

/// The manifest of the function in `folder`; the default one where there is none.
pub(super) fn read_manifest(folder: &Path) -> Result<Manifest, BuildError> {
    let path = folder.join("hob.toml");
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Manifest::default()),
        Ok(data) if data.is_file() && data.len() <= MAX_MANIFEST => {}
        _ => {
            return Err(BuildError::Refused(
                "hob.toml is no file, or is too long".into(),
            ));
        }
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| BuildError::Refused(format!("hob.toml cannot be read: {error}")))?;
    Manifest::parse(&text).map_err(|error| BuildError::Refused(error.to_string()))
}
