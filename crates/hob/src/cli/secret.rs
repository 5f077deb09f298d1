//! Secrets: their values come from standard input or files, never from the command line, where
//! every user of the machine could read them.

mod import;
mod list;
mod remove;
mod set;

pub(super) use import::read_folder;

use clap::Subcommand;
use hob_model::SecretName;

use super::Context;
use crate::exit::Failure;

/// Largest value that a server takes, in bytes.
const LARGEST: usize = 1 << 20;

/// Keep secrets for the functions that may read them
#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    Set(set::Set),
    List(list::List),
    Remove(remove::Remove),
    Import(import::Import),
}

impl Secret {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Set(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Remove(verb) => verb.run(context),
            Self::Import(verb) => verb.run(context),
        }
    }
}

/// The path of a secret in the API.
pub(super) fn secret_path(name: &SecretName, namespace: &str) -> String {
    format!("/hob/v1/secrets/{name}?namespace={namespace}")
}

fn parse_name(text: &str) -> anyhow::Result<SecretName> {
    text.parse()
        .map_err(|error: hob_model::NameError| Failure::usage(error.to_string()).into())
}

/// Refuses what is no value. An empty one is most likely the output of a command that failed, and
/// must not take the place of a good one.
fn check(name: &str, value: &[u8]) -> Result<(), Failure> {
    if value.is_empty() {
        return Err(Failure::failed(format!(
            "the value of secret `{name}` is empty; nothing was changed"
        )));
    }
    if value.len() > LARGEST {
        return Err(Failure::failed(format!(
            "the value of secret `{name}` is larger than 1 MiB; nothing was changed"
        )));
    }
    Ok(())
}

/// Cuts one newline at the end, as most editors and `echo` add it.
fn trim(mut value: Vec<u8>) -> Vec<u8> {
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_newline_is_cut_and_no_more() {
        assert_eq!(trim(b"a\n".into()), b"a");
        assert_eq!(trim(b"a\n\n".into()), b"a\n");
        assert_eq!(trim(b"a\r\n".into()), b"a");
        assert_eq!(trim(b"a ".into()), b"a ");
    }

    #[test]
    fn an_empty_value_never_replaces_a_good_one() {
        assert!(check("key", b"").is_err());
        assert!(check("key", &vec![0; LARGEST + 1]).is_err());
        assert!(check("key", b"\0").is_ok());
    }
}
