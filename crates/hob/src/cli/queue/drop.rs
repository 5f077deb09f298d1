use clap::Args;
use hob_model::wire::CallsChanged;

use super::{Context, call_path};
use crate::{cli::session::Session, client::quoted, config::ClientArgs, output};

/// Drop a call wherever it stands, or dead letters
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
    /// With --dead: only those of this function
    #[arg(long, value_name = "NAME", requires = "dead")]
    function: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

impl Drop {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let path = match (&self.id, &self.function) {
            (Some(id), _) => call_path(id, ""),
            (None, Some(name)) => {
                let name = session.function(name)?.to_string();
                format!("/hob/v1/queue?function={}", quoted(&name))
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
