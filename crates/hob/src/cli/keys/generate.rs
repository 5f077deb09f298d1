use std::path::PathBuf;

use clap::Args;
use hob_engine::pool::SigningKey;
use serde::Serialize;

use crate::{
    exit::Failure,
    key_file,
    output::{self, Format, OutputArgs},
};

const EXAMPLE: &str = "\
Example:
  hob keys generate --out /etc/hob/worker.key   on the server, with `sandbox.key` in its config.toml
  hob worker --public-key 2f8e…                 on the worker, with what the first one printed";

/// Make a key: the private one into a file, the public one to standard output
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Generate {
    /// Where the private key is written, for its owner alone; it must not be there yet
    #[arg(long, value_name = "FILE", default_value = "worker.key")]
    out: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Made {
    public_key: String,
    private_key_file: PathBuf,
}

impl Generate {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = SigningKey::generate().map_err(|error| Failure::failed(error.to_string()))?;
        let private_key_file = std::path::absolute(&self.out)?;
        key_file::write(&private_key_file, &key)?;
        let public_key = key.public().to_string();
        if self.output.output == Format::Json {
            return output::json(&Made {
                public_key,
                private_key_file,
            });
        }
        output::line(&public_key)?;
        eprintln!(
            "the private key is in {}: `sandbox.key` of the server; the public one, above, is for `hob worker --public-key`",
            private_key_file.display()
        );
        Ok(())
    }
}
