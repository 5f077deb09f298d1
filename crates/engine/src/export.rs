//! A function as a folder that runs without hob: the bundle in `function/`, and beside it `run.sh`,
//! which everything else (container, compose, systemd, README) only calls.

mod compose;
mod dockerfile;
mod readme;
mod run_script;
mod unit;

use std::{borrow::Cow, fs, os::unix::fs::PermissionsExt, path::Path};

use hob_model::{Function, Run, port::BuildError};

use crate::build::{Sharing, Template, Templates, copy_tree, has_any};

/// What the files are written from.
struct Exported<'a> {
    function: &'a Function,
    /// The language, where it is known.
    template: Option<Cow<'static, Template>>,
    /// Whether there is something to install that a container cannot take from this machine.
    with_dependencies: bool,
}

/// Image for a program of which no template knows more.
const ANY_IMAGE: &str = "debian:stable-slim";

/// Writes `function`, whose bundle is `bundle`, to the empty or new folder `target`.
pub(crate) fn export(function: &Function, bundle: &Path, target: &Path) -> Result<(), BuildError> {
    let host = |error: std::io::Error| {
        BuildError::Host(format!("cannot export to `{}`: {error}", target.display()))
    };
    if let Run::Image(run) = &function.revision.run {
        return Err(BuildError::Refused(format!(
            "function `{}` is an image and runs anywhere as it is: `hob image save {}`",
            function.name, run.image
        )));
    }
    if fs::read_dir(target).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(BuildError::Refused(format!(
            "folder `{}` is not empty: choose another, or remove it first",
            target.display()
        )));
    }
    if !bundle.is_dir() {
        return Err(BuildError::Host(format!(
            "bundle {} of function `{}` is gone: deploy it again",
            function.revision.short(),
            function.name
        )));
    }
    fs::create_dir_all(target).map_err(host)?;
    copy_tree(bundle, &target.join("function"), Sharing::Copied).map_err(host)?;
    let exported = Exported::new(function, bundle);
    let unit = format!("{}.service", function.name.name());
    for (name, text, mode) in [
        ("run.sh", run_script::text(&exported), 0o755),
        ("README.md", readme::text(&exported), 0o644),
        ("Dockerfile", dockerfile::text(&exported), 0o644),
        ("compose.yaml", compose::text(&exported), 0o644),
        (&unit, unit::text(&exported), 0o644),
    ] {
        let path = target.join(name);
        fs::write(&path, text).map_err(host)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(host)?;
    }
    Ok(())
}

// === impl Exported ===

impl<'a> Exported<'a> {
    fn new(function: &'a Function, bundle: &Path) -> Self {
        let built_in = Templates::built_in().find(&function.revision.language);
        let template = match built_in {
            Some(template) => Some(Cow::Borrowed(template)),
            None => Template::of_function(bundle).ok().map(Cow::Owned),
        };
        let recipe = template.as_ref().map(|template| &template.recipe);
        let dependencies = recipe.and_then(|recipe| recipe.dependencies.as_ref());
        let with_dependencies = dependencies.is_some_and(|d| has_any(bundle, &d.files));
        Self {
            function,
            template,
            with_dependencies,
        }
    }

    fn name(&self) -> &str {
        self.function.name.name()
    }

    fn image(&self) -> &str {
        let export = self
            .template
            .as_ref()
            .and_then(|t| t.recipe.export.as_ref());
        export.map_or(ANY_IMAGE, |export| &export.image)
    }

    /// Installs the dependencies for the image's own system.
    fn install(&self) -> Option<&str> {
        let export = self.template.as_ref()?.recipe.export.as_ref()?;
        export.install.as_deref().filter(|_| self.with_dependencies)
    }

    fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets = self.function.revision.settings.secrets.iter();
        secrets.map(|secret| secret.as_str())
    }
}
