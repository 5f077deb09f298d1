//! What a deploy says of a function besides what it is.

use std::collections::BTreeMap;

use clap::Args;

use crate::exit::Failure;

/// Settings on the command line, for what has no hob.toml of its own.
#[derive(Debug, Args)]
pub(super) struct SettingArgs {
    /// Variable of its environment
    #[arg(short, long, value_name = "NAME=VALUE", requires = "source")]
    env: Vec<String>,
    /// Secret that it may read, as a file in /var/openfaas/secrets
    #[arg(long, value_name = "NAME", requires = "source")]
    secret: Vec<String>,
    /// Label of it
    #[arg(short, long, value_name = "NAME=VALUE", requires = "source")]
    label: Vec<String>,
    /// Annotation of it
    #[arg(long, value_name = "NAME=VALUE", requires = "source")]
    annotation: Vec<String>,
}

impl SettingArgs {
    pub(super) fn env(&self) -> Result<BTreeMap<String, String>, Failure> {
        pairs("env", &self.env)
    }

    pub(super) fn labels(&self) -> Result<BTreeMap<String, String>, Failure> {
        pairs("label", &self.label)
    }

    pub(super) fn annotations(&self) -> Result<BTreeMap<String, String>, Failure> {
        pairs("annotation", &self.annotation)
    }

    pub(super) fn secrets(&self) -> &[String] {
        &self.secret
    }
}

fn pairs(flag: &str, lines: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |line: &String| match line.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(Failure::usage(format!(
            "--{flag} `{line}` must be NAME=VALUE"
        ))),
    };
    lines.iter().map(pair).collect()
}
