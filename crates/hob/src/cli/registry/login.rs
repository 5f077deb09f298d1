use std::io::{self, Read};

use clap::Args;
use hob_model::wire::RegistryLogin;

use super::{Context, registry_path};
use crate::{
    cli::session::Session, config::ClientArgs, exit::Failure, output, terminal::prompt_hidden,
};

/// Longest password or token, in bytes.
const LONGEST: u64 = 32 << 10;

/// Log in to a registry: the server tries the password and keeps it as a secret
///
/// The password is read from standard input; on a terminal it is asked for and not shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Login {
    /// Host and perhaps port of the registry: registry.example.net:5000
    registry: String,
    /// Name of the user
    #[arg(short, long)]
    username: String,
    /// Read the password from standard input, also on a terminal
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Login {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = registry_path(&self.registry, "/login")?;
        let password = if context.terminal.stdin && !self.password_stdin {
            prompt_hidden(&format!("password of {}: ", self.username))?
        } else {
            let mut text = String::new();
            io::stdin().take(LONGEST).read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        };
        if password.is_empty() {
            return Err(Failure::failed("the password is empty; nothing was changed").into());
        }
        let login = RegistryLogin {
            username: self.username,
            password,
        };
        let body = serde_json::to_vec(&login)?;
        context.wait(async { Ok(session.client.put(&path, body).await?) })?;
        output::line(&format!(
            "logged in to {} as {}",
            self.registry, login.username
        ))
    }
}
