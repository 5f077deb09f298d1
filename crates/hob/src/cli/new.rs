use std::path::Path;

use clap::Args;
use hob_engine::build::{Template, Templates};
use hob_model::{Label, port::BuildError};
use serde::Serialize;

use super::{Context, session::nearest};
use crate::{
    exit::Failure,
    output::{self, Format, OutputArgs, Table},
};

/// Write a new function: `hob new python hello`
#[derive(Debug, Args)]
pub(super) struct New {
    /// Language, or the folder of a template of your own
    #[arg(
        value_name = "LANGUAGE|FOLDER",
        required_unless_present = "list",
        requires = "name"
    )]
    language: Option<String>,
    /// Name of the function and of the folder that is made for it
    name: Option<Label>,
    /// List the languages
    #[arg(long, conflicts_with_all = ["language", "name"])]
    list: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// A language, as `hob new --list -o json` shows it.
#[derive(Debug, Serialize)]
struct Language<'a> {
    name: &'a str,
    description: &'a str,
}

impl New {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let templates = Templates::built_in();
        let (Some(language), Some(name)) = (&self.language, &self.name) else {
            return list(templates, self.output.output, context);
        };
        // A folder of one's own may be given without a slash, where no language has its name.
        let own = templates.find(language).is_none() && Path::new(language).is_dir();
        let language = if own && !language.contains('/') {
            format!("./{language}")
        } else {
            language.clone()
        };
        if !language.contains('/') && templates.find(&language).is_none() {
            return Err(unknown(&language, templates).into());
        }
        if language.contains('/') && !Path::new(&language).join("template.toml").is_file() {
            return Err(Failure::failed(format!(
                "{language} is no template: it needs a template.toml, a function/ and a shim/"
            ))
            .into());
        }
        let files = templates
            .scaffold(&language, name, Path::new(name.as_str()))
            .map_err(refused)?;
        output::line(&format!("{name}/ is a new function:"))?;
        for file in files {
            output::line(&format!("  {name}/{}", file.display()))?;
        }
        output::line(&format!(
            "next: `cd {name}`, then `hob dev` to try it or `hob deploy` to bring it up"
        ))
    }
}

fn list(templates: &Templates, format: Format, context: &Context) -> anyhow::Result<()> {
    let languages = templates.iter().map(|template: &Template| Language {
        name: template.name(),
        description: template.description(),
    });
    if format == Format::Json {
        return output::json(&languages.collect::<Vec<_>>());
    }
    let mut table = Table::with_head(["LANGUAGE", "DESCRIPTION"]);
    for language in languages {
        table.row([language.name.into(), language.description.into()]);
    }
    table.print(context.terminal.colour)
}

fn unknown(language: &str, templates: &Templates) -> Failure {
    let names = templates.names();
    let known = names.iter().map(|name| (*name).to_owned());
    let meant = nearest(language, known)
        .map(|meant| format!("did you mean `{meant}`? "))
        .unwrap_or_default();
    Failure::usage(format!(
        "language `{language}` is unknown: {meant}use one of {}, or the path of a template's folder",
        names.join(", ")
    ))
}

fn refused(error: BuildError) -> Failure {
    Failure::failed(error.to_string().replace('\n', " "))
}
