use clap::Args;
use hob_model::wire::CallsChanged;

use super::{Context, call_path};
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Make dead letters anew
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true))]
pub(in crate::cli) struct Retry {
    /// Its X-Call-Id; of several, the newest dead letter is meant
    #[arg(group = "which")]
    id: Option<String>,
    /// All dead letters of this function; with an id, only its
    #[arg(long, value_name = "NAME", group = "which")]
    function: Option<String>,
    /// All dead letters
    #[arg(long, group = "which", conflicts_with_all = ["id", "function"])]
    all: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Retry {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let function = self
            .function
            .map(|name| session.function(&name))
            .transpose()?;
        let path = match (&self.id, &function) {
            (Some(id), function) => call_path(id, "/retry", function.as_ref()),
            (None, Some(name)) => {
                format!("/hob/v1/queue/retry?function={}", quoted(&name.to_string()))
            }
            (None, None) => "/hob/v1/queue/retry".into(),
        };
        let done: CallsChanged =
            context.wait(async { Ok(session.client.post(&path, Vec::new()).await?) })?;
        output::line(&format!(
            "retrying {}",
            output::count(done.calls as usize, "call")
        ))
    }
}
