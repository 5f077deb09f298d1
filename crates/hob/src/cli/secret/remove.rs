use clap::Args;
use hob_model::{SecretName, wire::SecretSummary};

use super::{Context, parse_name, secret_path};
use crate::{
    cli::session::{Session, each, nearest},
    client::ClientError,
    config::ClientArgs,
};

/// Remove secrets
#[derive(Debug, Args)]
#[command(visible_alias = "rm")]
pub(in crate::cli) struct Remove {
    /// The secrets
    #[arg(required = true)]
    names: Vec<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Remove {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let names = self.names.iter().map(|name| parse_name(name));
        // All names are read before the first secret goes.
        let names = names.collect::<anyhow::Result<Vec<_>>>()?;
        let remove = async |name: &SecretName| {
            let path = secret_path(name, session.namespace());
            match session.client.delete(&path).await {
                Ok(said) => {
                    if !said.is_empty() {
                        eprintln!("warning: {said}");
                    }
                    Ok(format!("removed secret {name}"))
                }
                Err(error) => Err(explain(&session, name, error).await.into()),
            }
        };
        context.wait(each(&names, remove))
    }
}

async fn explain(session: &Session, name: &SecretName, error: ClientError) -> ClientError {
    let ClientError::NotFound(_) = error else {
        return error;
    };
    let namespace = session.namespace();
    let path = format!("/hob/v1/secrets?namespace={namespace}");
    let known: Vec<SecretSummary> = session.client.get(&path).await.unwrap_or_default();
    let cure = match nearest(name.as_str(), known.into_iter().map(|secret| secret.name)) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "`hob secret list` shows those that do".to_owned(),
    };
    ClientError::NotFound(format!(
        "secret `{name}` does not exist in namespace `{namespace}`: {cure}"
    ))
}
