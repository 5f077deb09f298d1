//! What a server knows of image registries.

mod forget;
mod list;
mod login;
mod logout;
mod trust;

use clap::Subcommand;

use super::Context;

/// Log in to image registries, and say which to trust
#[derive(Debug, Subcommand)]
pub(super) enum Registry {
    Login(login::Login),
    Logout(logout::Logout),
    Trust(trust::Trust),
    List(list::List),
    Forget(forget::Forget),
}

impl Registry {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Login(verb) => verb.run(context),
            Self::Logout(verb) => verb.run(context),
            Self::Trust(verb) => verb.run(context),
            Self::List(verb) => verb.run(context),
            Self::Forget(verb) => verb.run(context),
        }
    }
}

/// The path of a registry in the API. Only hosts and `*` are let through, so that it is one.
fn registry_path(registry: &str, rest: &str) -> anyhow::Result<String> {
    let good = |c: char| c.is_ascii_alphanumeric() || "-.:".contains(c);
    if registry != "*" && (registry.is_empty() || !registry.chars().all(good)) {
        return Err(crate::exit::Failure::usage(format!(
            "registry `{registry}` must be a host and perhaps a port, as in registry.example.net:5000"
        ))
        .into());
    }
    Ok(format!("/hob/v1/registries/{registry}{rest}"))
}
