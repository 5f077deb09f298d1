use clap::Args;
use hob_store::Authority;

use super::{Context, authority, day, explain};
use crate::{config::PlaceArgs, output};

/// Make the root certificate
///
/// It lasts ten years. Its private key never leaves the data directory.
#[derive(Debug, Args)]
pub(in crate::cli) struct Init {
    /// What devices call it in their list of authorities [default: hob root of this machine's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Init {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = self.name.unwrap_or_else(Authority::default_name);
        let authority = authority(self.place, context)?;
        let root = authority.init(&name).map_err(explain)?;
        output::line(&format!(
            "root `{}` until {}\n  {}",
            root.names.join(", "),
            day(root.ends)?,
            root.path.display()
        ))?;
        eprintln!(
            "next: `hob ca show` tells what to install where, `hob ca issue NAME` makes a certificate for a server"
        );
        Ok(())
    }
}
