use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use clap::Args;
use hob_model::SecretName;

use super::{Context, check, secret_path, trim};
use crate::{
    cli::session::Session, config::ClientArgs, environment::Environment, exit::Failure, output,
};

/// Where `pass` keeps its files when `PASSWORD_STORE_DIR` does not say.
const PASS_FOLDER: &str = ".password-store";
const PASS_SUFFIX: &str = "gpg";

/// Keep many secrets at once, as after a reinstall
///
/// A name below the prefix or folder becomes the secret's name, with `-` for each `/`. What has
/// no fitting name is said and passed by.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("source").required(true)))]
pub(in crate::cli) struct Import {
    /// Import what `pass` keeps below this prefix
    #[arg(long, value_name = "PREFIX", group = "source")]
    from_pass: Option<String>,
    /// Import every file of a folder
    #[arg(long, value_name = "DIR", group = "source")]
    from_dir: Option<PathBuf>,
    /// Cut one newline from the end of each value
    #[arg(long)]
    trim: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What is to become secrets: where each value is, by the secret's name.
type Found = BTreeMap<SecretName, Value>;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    /// An entry of `pass`.
    Pass(String),
    /// A file.
    File(PathBuf),
}

impl Import {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let found = match (&self.from_pass, &self.from_dir) {
            (Some(prefix), _) => in_pass(prefix, &context.env)?,
            (None, Some(folder)) => in_folder(folder)?,
            (None, None) => Found::new(),
        };
        let mut failed = 0;
        for (name, source) in &found {
            let kept = source
                .read()
                .map(|value| if self.trim { trim(value) } else { value })
                .and_then(|value| {
                    check(name.as_str(), &value)
                        .map(|()| value)
                        .map_err(Into::into)
                })
                .and_then(|value| {
                    let path = secret_path(name, session.namespace());
                    context.wait(async { Ok(session.client.put(&path, value).await?) })
                });
            match kept {
                Ok(new) => {
                    let done = if new { "set" } else { "updated" };
                    output::line(&format!("secret {name} {done}"))?;
                }
                // Nobody there: the others would only fail the same way.
                Err(error) if error.is::<crate::client::ClientError>() => return Err(error),
                Err(error) => {
                    eprintln!("skipped {name}: {error:#}");
                    failed += 1;
                }
            }
        }
        if failed > 0 {
            let failed = output::count(failed, "secret");
            return Err(Failure::failed(format!("{failed} could not be imported")).into());
        }
        Ok(())
    }
}

/// Every file directly or deeper in `folder`, as for `--from-dir`.
pub(in crate::cli) fn read_folder(folder: &Path) -> anyhow::Result<Vec<(SecretName, Vec<u8>)>> {
    let found = in_folder(folder)?.into_iter();
    found
        .map(|(name, value)| Ok((name, value.read()?)))
        .collect()
}

fn in_folder(folder: &Path) -> anyhow::Result<Found> {
    let files = files_below(folder)
        .map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))?;
    let entries = files.into_iter().filter_map(|path| {
        let inside = path.strip_prefix(folder).ok()?.to_owned();
        Some((inside.to_string_lossy().into_owned(), Value::File(path)))
    });
    named(entries, &format!("folder {}", folder.display()))
}

fn in_pass(prefix: &str, env: &Environment) -> anyhow::Result<Found> {
    if env.find_program("pass").is_none() {
        return Err(Failure::failed(
            "`pass` is not on PATH: install it, or import files with --from-dir DIR",
        )
        .into());
    }
    let store = env
        .path("PASSWORD_STORE_DIR")
        .or_else(|| Some(env.path("HOME")?.join(PASS_FOLDER)))
        .ok_or_else(|| Failure::failed("no home directory is known: set PASSWORD_STORE_DIR"))?;
    let prefix = prefix.trim_matches('/');
    let below = store.join(prefix);
    if prefix.split('/').any(|part| part == "..") || !below.is_dir() {
        return Err(Failure::failed(format!(
            "`pass` keeps nothing below `{prefix}` in {}: `pass ls` shows what it has",
            store.display()
        ))
        .into());
    }
    let files = files_below(&below)?.into_iter();
    let entries = files.filter_map(|path| {
        if path.extension()? != PASS_SUFFIX {
            return None;
        }
        let path = path.with_extension("");
        let inside = path.strip_prefix(&below).ok()?;
        let entry = path.strip_prefix(&store).ok()?;
        Some((
            inside.to_string_lossy().into_owned(),
            Value::Pass(entry.to_string_lossy().into_owned()),
        ))
    });
    named(entries, &format!("`pass` prefix `{prefix}`"))
}

/// Gives each entry the name of a secret; says which have none.
fn named(entries: impl Iterator<Item = (String, Value)>, place: &str) -> anyhow::Result<Found> {
    let mut found = Found::new();
    for (inside, value) in entries {
        match inside.replace('/', "-").parse::<SecretName>() {
            Err(error) => eprintln!("skipped {inside}: {error}"),
            Ok(name) if found.contains_key(&name) => {
                eprintln!("skipped {inside}: another one is called {name} too");
            }
            Ok(name) => {
                found.insert(name, value);
            }
        }
    }
    if found.is_empty() {
        return Err(Failure::failed(format!("{place} holds no secret to import")).into());
    }
    Ok(found)
}

/// Sorted, with hidden ones and links to folders left out.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

impl Value {
    fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                fs::read(path).map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))
            }
            // Its own words, such as the question for a passphrase, go to the terminal.
            Self::Pass(entry) => {
                let shown = Command::new("pass")
                    .args(["show", "--", entry])
                    .stderr(Stdio::inherit())
                    .output()?;
                anyhow::ensure!(
                    shown.status.success(),
                    "`pass show {entry}` ended with {}",
                    shown.status
                );
                Ok(shown.stdout)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_flattened_and_what_does_not_fit_is_left_out() {
        let folder = tempfile::tempdir().expect("temp dir");
        for name in ["api/key", "api-key", "Upper", "tls.crt", ".hidden"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, name).expect("file");
        }
        let found = read_folder(folder.path()).expect("reads");
        let found: Vec<_> = found
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        // Of two that collide the first in order is kept, and the other one is said.
        assert_eq!(
            found,
            [("api-key", &b"api/key"[..]), ("tls.crt", &b"tls.crt"[..])]
        );
    }

    #[test]
    fn a_missing_or_empty_folder_is_named() {
        let message = in_folder(Path::new("/nonexistent")).expect_err("none");
        assert!(message.to_string().contains("/nonexistent"));
        let empty = tempfile::tempdir().expect("temp dir");
        let message = in_folder(empty.path()).expect_err("empty").to_string();
        assert!(message.contains("holds no secret"), "{message}");
    }
}
