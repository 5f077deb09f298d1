//! A `stack.yml` of OpenFaaS, read as `faas-cli` reads it.

mod deployment;
mod pattern;
mod schema;
mod substitute;

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::{ArgAction, Args};
use regex::Regex;

use crate::{environment::Environment, exit::Failure};
pub(crate) use deployment::Additions;
pub(crate) use schema::Function;

/// Names of the file that are looked for where none is given.
const USUAL_NAMES: [&str; 2] = ["stack.yaml", "stack.yml"];
/// Largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Which file, and which of its functions.
#[derive(Debug, Clone, Args)]
pub(crate) struct StackArgs {
    /// A stack.yml of OpenFaaS, whose functions are meant; - is standard input
    #[arg(short = 'f', long = "yaml", value_name = "FILE", group = "source")]
    yaml: Option<PathBuf>,
    /// Of the stack.yml only functions of such a name, in which * is any text
    #[arg(long, value_name = "WILDCARD", conflicts_with = "regex")]
    filter: Option<String>,
    /// Of the stack.yml only functions in whose name this is found
    #[arg(long, value_name = "REGEX")]
    regex: Option<Regex>,
    /// Whether ${NAME} in the stack.yml stands for a variable of the environment
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    envsubst: bool,
}

/// The functions of a file, those that were asked for.
pub(crate) struct Stack {
    /// By their names.
    pub(crate) functions: Vec<(String, Function)>,
    /// What is in the file and means nothing here, one line each.
    pub(crate) notes: Vec<String>,
    /// What the file is called in messages.
    shown: String,
    /// Where the file is; `None` for standard input.
    folder: Option<PathBuf>,
}

// === impl StackArgs ===

impl StackArgs {
    /// Whether a file was named.
    pub(crate) fn is_given(&self) -> bool {
        self.yaml.is_some()
    }

    /// Whether functions of a file were chosen.
    pub(crate) fn is_chosen(&self) -> bool {
        self.is_given() || self.filter.is_some() || self.regex.is_some()
    }

    /// Reads the file that was named, else the one in this folder.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub(crate) fn read(&self, env: &Environment) -> anyhow::Result<Stack> {
        let path = self.yaml.clone().or_else(|| usual_file(Path::new("")));
        let path =
            path.ok_or_else(|| Failure::usage("there is no stack.yml here: name one with -f"))?;
        let (shown, text, folder) = if path == Path::new("-") {
            ("stack.yml".to_owned(), text_of(&path, io::stdin())?, None)
        } else {
            let folder = path.parent().map(Path::to_owned);
            (path.display().to_string(), read_file(&path)?, folder)
        };
        let text = if self.envsubst {
            let lookup = |name: &str| env.text(name).unwrap_or_default().to_owned();
            substitute::substitute(&text, &lookup)
                .map_err(|error| Failure::failed(format!("{shown}: {error}")))?
        } else {
            text
        };
        let mut said =
            schema::parse(&text).map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
        said.functions.retain(|(name, _)| self.takes(name));
        if said.functions.is_empty() {
            return Err(Failure::failed(format!("{shown} has no such function")).into());
        }
        let notes = said.notes.into_iter();
        Ok(Stack {
            functions: said.functions,
            notes: notes.map(|note| format!("{shown}: {note}")).collect(),
            shown,
            folder,
        })
    }

    fn takes(&self, name: &str) -> bool {
        let fits = |filter: &String| pattern::fits(&pattern::wildcard(filter), name);
        self.filter.as_ref().is_none_or(fits)
            && self.regex.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}

// === impl Stack ===

impl Stack {
    /// Where a function is, for errors that have to do with it.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}: function `{name}`", self.shown)
    }

    /// A file or folder that the stack names: below the working directory, as for `faas-cli`, else
    /// beside the file.
    pub(crate) fn find(&self, path: &str) -> Option<PathBuf> {
        let here = PathBuf::from(path);
        if here.exists() {
            return Some(here);
        }
        let beside = self.folder.as_ref()?.join(path);
        beside.exists().then_some(beside)
    }
}

/// The file that is meant where none is named.
pub(crate) fn usual_file(folder: &Path) -> Option<PathBuf> {
    let mut files = USUAL_NAMES.iter().map(|name| folder.join(name));
    files.find(|path| path.is_file())
}

/// The text of a file, which nobody wants to be large.
fn read_file(path: &Path) -> anyhow::Result<String> {
    if path.to_str().is_some_and(|path| path.contains("://")) {
        let message = format!(
            "{} is an address: pipe it in, as in `curl -sL URL | hob deploy -f -`",
            path.display()
        );
        return Err(Failure::usage(message).into());
    }
    let file = File::open(path)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    text_of(path, file)
}

fn text_of(path: &Path, source: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = source.take(LARGEST + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    if text.len() as u64 > LARGEST {
        let message = format!("{} is over {LARGEST} bytes", path.display());
        return Err(Failure::failed(message).into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "\
version: 1.0
provider: {name: openfaas, gateway: \"${GATEWAY:-http://127.0.0.1:8080}\"}
functions:
  resize-gif: {image: \"${REGISTRY:-local.test}/gif:1\"}
  resize-png: {image: png:1}
  uptime: {image: uptime:1}
";

    fn args(filter: Option<&str>, regex: Option<&str>, folder: &Path) -> StackArgs {
        StackArgs {
            yaml: Some(folder.join("stack.yml")),
            filter: filter.map(str::to_owned),
            regex: regex.map(|regex| Regex::new(regex).expect("valid")),
            envsubst: true,
        }
    }

    fn names(filter: Option<&str>, regex: Option<&str>) -> Vec<String> {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("stack.yml"), STACK).expect("written");
        let stack = args(filter, regex, folder.path()).read(&Environment::default());
        let names = stack.map(|stack| stack.functions.into_iter().map(|(name, _)| name).collect());
        names.unwrap_or_default()
    }

    #[test]
    fn functions_are_chosen_as_faas_cli_chooses_them() {
        assert_eq!(names(None, None), ["resize-gif", "resize-png", "uptime"]);
        assert_eq!(names(Some("*gif*"), None), ["resize-gif"]);
        assert_eq!(names(Some("resize-*"), None), ["resize-gif", "resize-png"]);
        // A wildcard is for the whole name, an expression for any part of it.
        assert!(names(Some("resize"), None).is_empty());
        assert_eq!(names(None, Some("p.g")), ["resize-png"]);
        assert_eq!(
            names(None, Some("^(up|resize-g)")),
            ["resize-gif", "uptime"]
        );
    }

    #[test]
    fn variables_stand_for_what_the_environment_has() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("stack.yml"), STACK).expect("written");
        let env = Environment::from([("REGISTRY", "registry.example.net")]);
        let mut args = args(Some("*gif"), None, folder.path());
        let image = |stack: Stack| stack.functions[0].1.image.clone().unwrap_or_default();
        assert_eq!(
            image(args.read(&env).expect("reads")),
            "registry.example.net/gif:1"
        );
        args.envsubst = false;
        assert_eq!(
            image(args.read(&env).expect("reads")),
            "${REGISTRY:-local.test}/gif:1"
        );
    }

    #[test]
    fn mistakes_name_the_file() {
        let folder = tempfile::tempdir().expect("folder");
        let missing = args(None, None, folder.path());
        let message = |args: &StackArgs| {
            let error = args.read(&Environment::default()).err().expect("refused");
            error.to_string()
        };
        assert!(message(&missing).contains("stack.yml: No such file"));
        std::fs::write(folder.path().join("stack.yml"), "functions: ${A").expect("written");
        assert!(message(&missing).contains("stack.yml: line 1: `${A` is not closed"));
        let mut address = missing;
        address.yaml = Some("https://example.net/stack.yml".into());
        assert!(message(&address).contains("curl -sL URL"));
    }
}
