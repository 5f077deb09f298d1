use clap::Args;
use hob_model::openfaas::FunctionNamespace;
use http::Method;

use super::{Context, parse_name};
use crate::{cli::session::Session, client::full, config::ClientArgs, output};

/// Create a namespace; a deploy of NAME.NAMESPACE needs none
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// Its name
    name: String,
    #[command(flatten)]
    client: ClientArgs,
}

impl Create {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = parse_name(&self.name)?;
        let marker = (FunctionNamespace::MARKER.to_owned(), "1".to_owned());
        let body = serde_json::to_vec(&FunctionNamespace {
            name: name.to_string(),
            annotations: [marker].into(),
            ..FunctionNamespace::default()
        })?;
        context.wait(async {
            let length = body.len() as u64;
            let (path, body) = ("/system/namespaces", full(body));
            let sent = session
                .client
                .stream(Method::POST, path, body, Some(length));
            sent.await?;
            output::line(&format!("created namespace {name}"))
        })
    }
}
