use clap::Args;
use hob_model::{Label, wire::TokenSummary};

use super::{Context, TOKENS, parse_name};
use crate::{
    cli::session::{Session, each, nearest},
    client::ClientError,
    config::ClientArgs,
};

/// Take tokens back: nobody comes in with them from then on
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Revoke {
    /// The tokens' names
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Revoke {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let names = self.names.iter().map(|name| parse_name(name));
        // All names are read before the first token goes.
        let names = names.collect::<anyhow::Result<Vec<_>>>()?;
        let revoke =
            async |name: &Label| match session.client.delete(&format!("{TOKENS}/{name}")).await {
                Ok(_) => Ok(format!("revoked token {name}")),
                Err(error) => Err(explain(&session, name.as_str(), error).await.into()),
            };
        context.wait(each(&names, revoke))
    }
}

async fn explain(session: &Session, name: &str, error: ClientError) -> ClientError {
    let ClientError::NotFound(_) = error else {
        return error;
    };
    let known: Vec<TokenSummary> = session.client.get(TOKENS).await.unwrap_or_default();
    let cure = match nearest(name, known.into_iter().map(|token| token.name)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`hob token list` shows those that do".to_owned(),
    };
    ClientError::NotFound(format!("token `{name}` does not exist: {cure}"))
}
