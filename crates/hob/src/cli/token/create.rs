use clap::Args;
use hob_model::{
    Scope, Timespan,
    wire::{MadeToken, NewToken},
};

use super::{Context, TOKENS, parse_name};
use crate::{
    cli::session::Session,
    config::ClientArgs,
    output::{self, Format, OutputArgs},
};

const SCOPES: &str = "\
Scopes:
  functions:read   look at functions, their logs, revisions, images, calls and schedules
  functions:write  deploy, change and remove them as well
  secrets:write    set and remove secrets, and see their names
  invoke:NAME      call this function where it asks for a token; invoke:* is every one
  admin            everything but to change the password

Examples:
  hob token create ci --scope functions:write --expires 90d
  hob token create phone --scope invoke:covers | qrencode -t ansi
  HOB_PASSWORD=$(cat ~/.ci-token) hob deploy --server http://192.168.1.10:8080";

/// Make a token and show it, this once
///
/// Standard output has the token and nothing else. hob keeps no more than its SHA-256.
#[derive(Debug, Args)]
#[command(after_help = SCOPES)]
pub(in crate::cli) struct Create {
    /// Its name, for lists and for the audit
    name: String,
    /// What it lets its bearer do; may be given several times
    #[arg(long, value_name = "SCOPE", required = true, value_delimiter = ',')]
    scope: Vec<Scope>,
    /// After how long it ends, as in `12h` or `90d` [default: never]
    #[arg(long, value_name = "TIME")]
    expires: Option<Timespan>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Create {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let body = serde_json::to_vec(&NewToken {
            name: parse_name(&self.name)?,
            scopes: self.scope,
            expires_in: self.expires,
        })?;
        let made: MadeToken =
            context.wait(async { Ok(session.client.post(TOKENS, body).await?) })?;
        if self.output.output == Format::Json {
            return output::json(&made);
        }
        output::line(&made.token)?;
        let end = match self.expires {
            Some(span) => format!("it ends in {span}"),
            None => "it has no end".to_owned(),
        };
        eprintln!(
            "token {} is shown this once, and {end}: `hob token revoke {}` takes it back",
            made.summary.name, made.summary.name
        );
        Ok(())
    }
}
