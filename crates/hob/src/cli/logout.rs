use clap::Args;

use super::Context;
use crate::{
    contexts::{Contexts, ContextsFile, LOCAL},
    exit::Failure,
    output,
};

/// Forget the password or the token for a server
///
/// Its context stays, for the next `hob login`; `hob context remove` forgets that as well. The
/// server forgets nothing: a token is ended there with `hob token revoke`.
#[derive(Debug, Args)]
pub(super) struct Logout {
    /// The context [default: the current one]
    name: Option<String>,
}

impl Logout {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file = ContextsFile::of(&context.env)?;
        let (name, server) = file.change(|contexts| {
            let name = self.name.map_or_else(|| current(contexts), Ok)?;
            let entry = contexts.get_mut(&name)?;
            if entry.login.take().is_none() {
                let text = format!("context `{name}` has no login");
                return Err(Failure::failed(text).into());
            }
            Ok((name, entry.server.clone()))
        })?;
        output::line(&format!("logged out of {server}, context `{name}`"))
    }
}

fn current(contexts: &Contexts) -> anyhow::Result<String> {
    let current = contexts.current.clone();
    current.filter(|name| name != LOCAL).ok_or_else(|| {
        Failure::usage("no context is in use: name one of those that `hob context list` shows")
            .into()
    })
}
