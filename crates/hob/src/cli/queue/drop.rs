use clap::Args;
use hob_model::wire::{CallPhase, CallsChanged};

use super::{Context, call_path};
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Drop a call wherever it stands, dead letters, or what waits for a function
///
/// A call that is being made goes on; its answer is dropped.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("which").required(true))]
pub(in crate::cli) struct Drop {
    /// Its X-Call-Id; of several, the newest is meant
    #[arg(group = "which")]
    id: Option<String>,
    /// All dead letters
    #[arg(long, group = "which")]
    dead: bool,
    /// All calls that wait for the function of --function
    #[arg(long, group = "which", requires = "function")]
    waiting: bool,
    /// Only calls of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Drop {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let function = self
            .function
            .map(|name| session.function(&name))
            .transpose()?;
        let state = match self.waiting {
            true => CallPhase::Waiting,
            false => CallPhase::Dead,
        };
        let path = match (&self.id, &function) {
            (Some(id), function) => call_path(id, "", function.as_ref()),
            (None, Some(name)) => {
                let name = quoted(&name.to_string());
                format!("/hob/v1/queue?state={}&function={name}", state.as_str())
            }
            (None, None) => "/hob/v1/queue".into(),
        };
        let said = context.wait(async { Ok(session.client.delete(&path).await?) })?;
        let calls = match self.id {
            Some(_) => 1,
            None => serde_json::from_str::<CallsChanged>(&said)?.calls as usize,
        };
        output::line(&format!("dropped {}", output::count(calls, "call")))
    }
}
