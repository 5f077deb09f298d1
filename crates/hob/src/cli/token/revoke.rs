use clap::Args;
use hob_model::wire::TokenSummary;

use super::{Context, TOKENS, parse_name};
use crate::{
    cli::session::{Session, nearest},
    client::ClientError,
    config::ClientArgs,
    exit::report,
    output,
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
        context.wait(async {
            let mut failed = None;
            for name in &names {
                match session.client.delete(&format!("{TOKENS}/{name}")).await {
                    Ok(_) => output::line(&format!("revoked token {name}"))?,
                    Err(error) => {
                        let error = explain(&session, name.as_str(), error).await.into();
                        if let Some(earlier) = failed.replace(error) {
                            report(&earlier);
                        }
                    }
                }
            }
            failed.map_or(Ok(()), Err)
        })
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
