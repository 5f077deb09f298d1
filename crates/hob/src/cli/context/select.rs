use clap::Args;

use super::{Surroundings, warn_of_variables};
use crate::{
    contexts::{ContextsFile, LOCAL},
    output,
};

/// Use a server from now on; `local` is that of this machine
#[derive(Debug, Args)]
pub(in crate::cli) struct Use {
    /// The context
    name: String,
}

impl Use {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        let name = self.name;
        let server = ContextsFile::of(&context.env)?.change(|contexts| {
            let server = match name.as_str() {
                LOCAL => "the server of this machine".to_owned(),
                name => contexts.get(name)?.server.clone(),
            };
            contexts.current = Some(name.clone());
            Ok(server)
        })?;
        output::line(&format!("context `{name}` is used from now on: {server}"))?;
        warn_of_variables(&context.env);
        Ok(())
    }
}
