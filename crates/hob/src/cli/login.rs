use std::{
    io::{self, Read},
    path::PathBuf,
};

use clap::Args;
use hob_model::wire::Status;

use super::Context;
use crate::{
    client::{ADMIN, Address, Client, ClientError, Login as Credentials, read_certificates},
    contexts::{ContextsFile, Entry, Remote, authorities, check_name, name_for},
    exit::{Exit, Failure},
    output,
    terminal::prompt_hidden,
};

/// Longest password or token that is read, in bytes.
const LONGEST: u64 = 4 << 10;

const EXAMPLES: &str = "\
Examples:
  hob login https://box.example.net            asks for the password, and uses that server from now on
  hob login https://10.0.0.5 --ca ca.pem       whose certificate `hob ca` made
  hob login https://box.example.net --name ci --password-stdin < token
  hob context use local                        back to the server of this machine";

/// Log in to a server elsewhere, and use it from now on
///
/// The password or the token is asked for, and checked before anything is kept. It is kept in
/// ~/.config/hob/contexts.toml, which only you can read.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Login {
    /// The server, as in https://box.example.net
    url: String,
    /// What to call it here [default: the name of its host]
    #[arg(long)]
    name: Option<String>,
    /// Name of the user [default: admin, and none for a token]
    #[arg(short, long)]
    username: Option<String>,
    /// Read the password or the token from standard input, also on a terminal
    #[arg(long)]
    password_stdin: bool,
    /// Certificate of the authority that signed the server's, PEM [default: those that this machine trusts]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the password though everybody on the way can read it
    #[arg(long)]
    plain_http: bool,
    /// There is none
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "")]
    password: Option<String>,
}

impl Login {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.password.is_some() {
            return Err(Failure::usage(
                "there is no --password: everybody on this machine can read a command line, and the shell remembers it; leave it out to be asked, or use --password-stdin (and change a password that stood there)",
            )
            .into());
        }
        let address = self.address()?;
        let file = ContextsFile::of(&context.env)?;
        let contexts = file.read()?;
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_for(&contexts, &address),
        };
        check_name(&name)?;
        let known = contexts.of(&address).map(|(_, entry)| entry);
        let ca = match &self.ca {
            Some(path) => Some(read_certificates(path)?),
            None => known.and_then(|entry| entry.ca.clone()),
        };
        let mut remote = Remote {
            url: address.to_string(),
            context: None,
            login: None,
            by_variable: false,
            authorities: authorities(ca.clone(), &context.env)?,
        };
        // Nobody should type a password for nothing.
        let stranger = Client::of(&remote)?;
        context.wait(async { Ok(stranger.reach().await?) })?;
        let login = Credentials::of(self.username.as_deref(), self.secret(&address, context)?);
        remote.login = Some(login.clone());
        check(&remote, context)?;
        let said = format!("logged in to {address} as {}", login.user());
        file.change(|contexts| {
            let entry = Entry {
                server: remote.url,
                ca,
                login: Some(login),
            };
            contexts.contexts.insert(name.clone(), entry);
            contexts.current = Some(name.clone());
            Ok(())
        })?;
        output::line(&format!("{said}: context `{name}` is used from now on"))?;
        super::context::warn_of_variables(&context.env);
        Ok(())
    }

    /// Where nobody names a scheme, passwords are not sent in the open.
    fn address(&self) -> anyhow::Result<Address> {
        let address = Address::parse(&self.url)?;
        if !address.is_exposed() {
            return Ok(address);
        }
        if !self.url.contains("://") {
            return Ok(Address::parse(&format!("https://{}", self.url))?);
        }
        if self.plain_http {
            return Ok(address);
        }
        Err(Failure::usage(format!(
            "everybody on the way to {address} could read the password: use https, or a tunnel, as in `ssh -L 8080:127.0.0.1:8080 HOST`; in a network that is yours alone, add --plain-http"
        ))
        .into())
    }

    fn secret(&self, address: &Address, context: &Context) -> anyhow::Result<String> {
        let secret = if context.terminal.stdin && !self.password_stdin {
            let user = self.username.as_deref().unwrap_or(ADMIN);
            prompt_hidden(&format!("password of {user} at {address}, or a token: "))?
        } else {
            let mut text = String::new();
            io::stdin().take(LONGEST).read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        };
        match secret.is_empty() {
            true => Err(Failure::failed("the password is empty; nothing was changed").into()),
            false => Ok(secret),
        }
    }
}

/// Shows the server who asks. A token that may not read its state is none the worse for it.
fn check(remote: &Remote, context: &Context) -> anyhow::Result<()> {
    let client = Client::of(remote)?;
    let asked = context.wait(async { Ok(client.get::<Status>("/hob/v1/status").await) })?;
    match asked {
        Ok(_) => Ok(()),
        Err(ClientError::NotAllowed(_)) => Ok(()),
        Err(ClientError::Denied(_)) => Err(Failure::new(
            Exit::Denied,
            format!(
                "{} does not accept this {}; nothing was changed",
                remote.url,
                match &remote.login {
                    Some(Credentials::Token { .. }) => "token",
                    _ => "password",
                }
            ),
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}
