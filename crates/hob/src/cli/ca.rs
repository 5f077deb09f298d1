//! The machine's own certificate authority. It works on files alone, so no server has to run.

mod init;
mod issue;
mod renew;
mod show;

use std::time::SystemTime;

use anyhow::Context as _;
use clap::Subcommand;
use hob_store::{Authority, AuthorityError, Certificate, HostName};

use super::Context;
use crate::{
    config::PlaceArgs,
    exit::{Exit, Failure},
};

/// The folder of the authority in the data directory.
const FOLDER: &str = "pki";

/// Keep a certificate authority of your own: a root to install on your devices, and certificates
/// for your servers
#[derive(Debug, Subcommand)]
pub(super) enum Ca {
    Init(init::Init),
    Issue(issue::Issue),
    Show(show::Show),
    Renew(renew::Renew),
}

impl Ca {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Init(verb) => verb.run(context),
            Self::Issue(verb) => verb.run(context),
            Self::Show(verb) => verb.run(context),
            Self::Renew(verb) => verb.run(context),
        }
    }
}

fn authority(place: PlaceArgs, context: &Context) -> anyhow::Result<Authority> {
    Ok(Authority::at(&place.data(&context.env)?.join(FOLDER)))
}

/// An error of the authority with its exit code.
fn explain(error: AuthorityError) -> Failure {
    let exit = match error {
        AuthorityError::NoRoot { .. } | AuthorityError::NotIssued { .. } => Exit::NotFound,
        AuthorityError::RootName => Exit::Usage,
        _ => Exit::Failed,
    };
    Failure::new(exit, error.to_string())
}

fn parse_name(text: &str) -> Result<HostName, String> {
    text.parse()
        .map_err(|error: hob_store::HostNameError| error.to_string())
}

/// The day on which a certificate ends: `2027-12-26`.
fn day(time: SystemTime) -> anyhow::Result<String> {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    let (day, _) = text.split_once('T').context("no date")?;
    Ok(day.to_owned())
}

/// What to do with a certificate that was just made.
fn made(certificate: &Certificate) -> anyhow::Result<String> {
    Ok(format!(
        "certificate for {} until {}\n  {}\n  {}",
        certificate.names.join(", "),
        day(certificate.ends)?,
        certificate.path.display(),
        certificate.key.display(),
    ))
}
