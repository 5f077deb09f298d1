use clap::Args;

use super::Surroundings;
use crate::{
    contexts::{ContextsFile, check_name},
    exit::Failure,
    output,
};

/// Call a server something else
#[derive(Debug, Args)]
pub(in crate::cli) struct Rename {
    /// The context
    name: String,
    /// Its new name
    new: String,
}

impl Rename {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        let Self { name, new } = self;
        check_name(&new)?;
        ContextsFile::of(&context.env)?.change(|contexts| {
            let entry = contexts.get(&name)?.clone();
            if contexts.contexts.contains_key(&new) {
                let text = format!("there is a context `{new}` already: remove it first");
                return Err(Failure::failed(text).into());
            }
            contexts.contexts.remove(&name);
            contexts.contexts.insert(new.clone(), entry);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = Some(new.clone());
            }
            Ok(())
        })?;
        output::line(&format!("context `{name}` is called `{new}`"))
    }
}
