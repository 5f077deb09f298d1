use std::time::SystemTime;

use clap::Args;
use hob_store::{Authority, HostName};

use super::{Context, authority, day, explain, made, parse_name};
use crate::{config::PlaceArgs, output};

/// Make new certificates for servers whose time is nearly over
///
/// Names and keys stay. Without a name those are renewed that end within 30 days, so that it can
/// run every day.
#[derive(Debug, Args)]
pub(in crate::cli) struct Renew {
    /// The first name of the certificate [default: all that end within 30 days]
    #[arg(value_name = "NAME", value_parser = parse_name)]
    name: Option<HostName>,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Renew {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let authority = authority(self.place, context)?;
        match &self.name {
            Some(name) => renew(&authority, name),
            None => renew_all(&authority),
        }
    }
}

fn renew(authority: &Authority, name: &HostName) -> anyhow::Result<()> {
    let certificate = authority.renew(name).map_err(explain)?;
    output::line(&made(&certificate)?)
}

fn renew_all(authority: &Authority) -> anyhow::Result<()> {
    let now = SystemTime::now();
    let certificates = authority.issued().map_err(explain)?;
    let (due, fine): (Vec<_>, Vec<_>) = certificates
        .iter()
        .partition(|certificate| certificate.left(now) < Authority::RENEW_BEFORE);
    for certificate in &due {
        if let Some(first) = certificate.names.first() {
            renew(authority, &parse_name(first).map_err(anyhow::Error::msg)?)?;
        }
    }
    if due.is_empty() {
        let next = fine.iter().map(|certificate| certificate.ends).min();
        match next {
            Some(next) => eprintln!("nothing to renew: the next one ends on {}", day(next)?),
            None => eprintln!("nothing to renew: `hob ca issue NAME` makes a certificate"),
        }
    }
    Ok(())
}
