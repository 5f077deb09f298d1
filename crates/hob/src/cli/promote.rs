use clap::Args;

use super::{
    Context,
    deploy::{Report, summary},
    progress::Progress,
    rollback::change,
    session::Session,
};
use crate::{
    config::ClientArgs,
    output::{self, Format, OutputArgs},
};

/// Give all calls of a function to its canary, which `hob deploy --canary` has made
///
/// The canary's replicas go on; those of the revision that answered the other calls finish what
/// they have.
#[derive(Debug, Args)]
pub(super) struct Promote {
    /// The function
    name: String,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

impl Promote {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client, context)?;
        let name = session.function(&self.name)?;
        let progress = Progress::new(context.terminal);
        context.wait(async {
            let changed = change(&session, &name, "/promote", Vec::new(), &progress);
            let (done, url) = changed.await?;
            match self.output.output {
                Format::Text => output::line(&summary(&done, &url)),
                Format::Json => output::json(&Report::of(&done, url)),
            }
        })
    }
}
