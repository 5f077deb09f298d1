use clap::Args;

use super::Context;
use crate::{
    contexts::{ContextsFile, LOCAL},
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
    /// The same
    #[arg(long, env = "HOB_CONTEXT", value_name = "NAME", hide_env_values = true)]
    context: Option<String>,
}

impl Logout {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let typed = self.context.as_deref() != context.env.text("HOB_CONTEXT");
        if typed && self.name.is_some() {
            let text = "the argument and --context name a context each: leave one of them out";
            return Err(Failure::usage(text).into());
        }
        let named = self.name.or(self.context);
        let file = ContextsFile::of(&context.env)?;
        let (name, server) = file.change(|contexts| {
            let name = named.or_else(|| contexts.current.clone());
            let name = name.filter(|name| name != LOCAL).ok_or_else(local)?;
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

fn local() -> Failure {
    Failure::usage(
        "the server of this machine takes no login: name one of those that `hob context list` shows",
    )
}
