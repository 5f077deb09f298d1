//! What a template may say that came with a function. Its owner may write anything into the scripts,
//! which run in a cage; but hob itself, outside of any, follows the rest of the recipe.

use std::{
    fs,
    path::{Component, Path},
};

use hob_model::{Label, port::BuildError};

use super::{
    template::{MAX_TEMPLATE, Recipe},
    templates::Templates,
};

/// Where the machine's owner puts programs for everybody.
const PROGRAMS: [&str; 2] = ["/usr", "/opt"];

/// Refuses what is no plain file or folder: a build may have left links to anywhere.
pub(crate) fn check_files(template: &Path) -> Result<(), BuildError> {
    let refuse = |path: &Path| {
        Err(BuildError::Refused(format!(
            "template `{}` is a link, or too large for a template",
            path.display()
        )))
    };
    for folder in [
        template.to_path_buf(),
        template.join("function"),
        template.join("shim"),
    ] {
        if folder.is_symlink() {
            return refuse(&folder);
        }
    }
    let recipe = template.join("template.toml");
    match fs::symlink_metadata(&recipe) {
        Ok(data) if !data.is_file() || data.len() > MAX_TEMPLATE => refuse(&recipe),
        _ => Ok(()),
    }
}

/// Refuses a recipe that would lead hob out of the function's folder, or lend it what no built-in
/// template lends.
pub(crate) fn check_recipe(recipe: &Recipe) -> Result<(), BuildError> {
    let refuse = |value: &str, rule: &str| {
        Err(BuildError::Refused(format!(
            "template.toml of the function: `{value}` {rule}"
        )))
    };
    if recipe.name.parse::<Label>().is_err() {
        return refuse(
            &recipe.name,
            "is no name for a language: use a-z, 0-9 and `-`",
        );
    }
    let dependencies = recipe.dependencies.as_ref();
    if let Some(folder) = dependencies.map(|wanted| &wanted.folder)
        && !is_name(folder)
    {
        return refuse(folder, "is no folder right inside the function's");
    }
    for tool in recipe.tools.iter().flat_map(|tool| &tool.any) {
        if !is_name(tool) {
            return refuse(tool, "is a path: tools are looked for by name");
        }
    }
    let programs = [&recipe.handler, &recipe.server];
    let of_programs = programs.into_iter().flatten().map(|program| &program.files);
    let of_dependencies = dependencies.map(|wanted| [&wanted.files, &wanted.key]);
    let files = of_programs
        .chain(recipe.site.as_ref().map(|site| &site.files))
        .chain(of_dependencies.into_iter().flatten());
    for file in files.flatten() {
        if !is_inside(file) {
            return refuse(file, "leads out of the function's folder");
        }
    }
    for place in recipe.build.path.iter().chain(&recipe.build.folders) {
        if !is_for_programs(place)
            && !lends(|of| of.path.contains(place) || of.folders.contains(place))
        {
            return refuse(
                place,
                "is not lent to functions: only /usr, /opt and what built-in templates name",
            );
        }
    }
    for file in recipe.build.settings.values().flatten() {
        if !lends(|of| of.settings.values().flatten().any(|lent| lent == file)) {
            return refuse(
                file,
                "is not lent to functions: only settings that built-in templates name",
            );
        }
    }
    Ok(())
}

fn lends(what: impl Fn(&super::template::Bench) -> bool) -> bool {
    let mut templates = Templates::built_in().iter();
    templates.any(|template| what(&template.recipe.build))
}

fn is_name(text: &str) -> bool {
    let mut parts = Path::new(text).components();
    matches!(parts.next(), Some(Component::Normal(_))) && parts.next().is_none()
}

fn is_inside(text: &str) -> bool {
    let stays = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    Path::new(text).components().all(stays)
}

fn is_for_programs(text: &str) -> bool {
    let path = Path::new(text);
    let climbs = path.components().any(|part| part == Component::ParentDir);
    !climbs && PROGRAMS.iter().any(|place| path.starts_with(place))
}
