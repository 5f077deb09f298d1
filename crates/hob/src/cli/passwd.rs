use std::io::{self, Read};

use clap::Args;
use hob_model::wire::NewPassword;
use hob_store::AdminPassword;

use super::{Context, session::Session};
use crate::{
    client::{ADMIN, Login},
    config::ClientArgs,
    contexts::{ContextsFile, LOCAL},
    exit::Failure,
    output,
    terminal::prompt_hidden,
};

/// Bytes of standard input that are read: more than a password may have.
const READ_MAX: u64 = 1 << 10;

const EXAMPLES: &str = "\
Examples:
  hob passwd                     ask for it, twice, without showing it
  hob passwd --generate          have one made, and show it
  pass show hob | hob passwd --password-stdin
  HOB_PASSWORD=the-old-one hob passwd --server http://192.168.1.10:8080

On the machine itself no password is asked for: whoever has lost it logs in there and sets a new one.";

/// Change the admin password, at once; tokens stay as they are
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Passwd {
    /// Read the new one from standard input; a line end behind it is not part of it
    #[arg(long)]
    password_stdin: bool,
    /// Make a new one and print it
    #[arg(long, conflicts_with = "password_stdin")]
    generate: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Passwd {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let password = if self.generate {
            AdminPassword::create()?
        } else if self.password_stdin {
            checked(of_stdin()?)?
        } else if context.terminal.stdin {
            asked()?
        } else {
            return Err(Failure::usage(
                "there is no terminal to ask on: use --password-stdin, or --generate",
            )
            .into());
        };
        let body = serde_json::to_vec(&NewPassword {
            password: password.reveal().to_owned(),
        })?;
        let path = "/hob/v1/password";
        context.wait(async { Ok(session.client.put(path, body).await?) })?;
        // It holds from here on: whatever fails now, it must have been seen.
        let said = match self.generate {
            true => output::line(password.reveal()),
            false => output::line("the admin password is changed"),
        };
        if self.generate {
            eprintln!("this is the admin password from now on; it is shown this once");
        }
        if let Some(name) = session.context().filter(|name| *name != LOCAL)
            && let Err(error) = remember(name, password.reveal(), context)
        {
            eprintln!(
                "warning: context `{name}` still has the old password ({error:#}): `hob login {} --name {name}` gives it the new one",
                session.client.address()
            );
        }
        said
    }
}

/// Gives the context its new password, where it had one.
fn remember(name: &str, password: &str, context: &Context) -> anyhow::Result<()> {
    ContextsFile::of(&context.env)?.change(|contexts| {
        let login = &mut contexts.get_mut(name)?.login;
        if let Some(Login::Password { .. }) = login {
            *login = Some(Login::of(Some(ADMIN), password.to_owned()));
        }
        Ok(())
    })
}

fn of_stdin() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(READ_MAX).read_to_string(&mut text)?;
    let length = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(length);
    Ok(text)
}

fn asked() -> anyhow::Result<AdminPassword> {
    let password = checked(prompt_hidden("new admin password: ")?)?;
    let again = prompt_hidden("the same again: ")?;
    if password.reveal() != again {
        return Err(Failure::failed("the two are not the same; nothing was changed").into());
    }
    Ok(password)
}

fn checked(text: String) -> Result<AdminPassword, Failure> {
    AdminPassword::chosen(text)
        .map_err(|error| Failure::failed(format!("{error}; nothing was changed")))
}
