use std::{
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;

use super::{Context, LARGEST, check, parse_name, secret_path, trim};
use crate::{
    cli::session::Session, config::ClientArgs, exit::Failure, output, terminal::prompt_hidden,
};

/// Keep a secret: `pass show api-key | hob secret set api-key`
///
/// The exact bytes of standard input are kept, a newline at the end included. On a terminal the
/// value is asked for and not shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// Name of the secret, which is also the name of its file in $HOB_SECRETS
    name: String,
    /// Read the value from a file
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Cut one newline from the end of the value
    #[arg(long)]
    trim: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Set {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = parse_name(&self.name)?;
        let mut value = match &self.from_file {
            Some(path) => std::fs::File::open(path)
                .and_then(read)
                .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?,
            None if context.terminal.stdin => {
                prompt_hidden(&format!("value of {name}: "))?.into_bytes()
            }
            None => read(io::stdin())?,
        };
        if self.trim {
            value = trim(value);
        }
        check(name.as_str(), &value)?;
        let path = secret_path(&name, session.namespace());
        let new = context.wait(async { Ok(session.client.put(&path, value).await?) })?;
        let done = if new { "set" } else { "updated" };
        output::line(&format!("secret {name} {done}"))
    }
}

/// No more than one byte over the limit, which is enough to refuse it.
fn read(source: impl Read) -> io::Result<Vec<u8>> {
    let mut value = Vec::new();
    source.take(LARGEST as u64 + 1).read_to_end(&mut value)?;
    Ok(value)
}
