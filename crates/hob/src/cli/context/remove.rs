use clap::Args;

use super::Surroundings;
use crate::{contexts::ContextsFile, output};

/// Forget a server, with the password or the token for it
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Remove {
    /// The context
    name: String,
}

impl Remove {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        let name = self.name;
        let was_current = ContextsFile::of(&context.env)?.change(|contexts| {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            let was_current = contexts.current.as_ref() == Some(&name);
            if was_current {
                contexts.current = None;
            }
            Ok(was_current)
        })?;
        output::line(&match was_current {
            true => format!(
                "context `{name}` is forgotten: the server of this machine is used from now on"
            ),
            false => format!("context `{name}` is forgotten"),
        })
    }
}
