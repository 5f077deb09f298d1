use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use hob_model::backup::IDENTITY;

use super::{Context, progress::Progress};
use crate::{
    config::PlaceArgs,
    exit::Failure,
    output::{self, Format, OutputArgs},
    restore::{Restored, restore},
};

/// Standard input, as the name of a file.
const STDIN: &str = "-";

/// Bring back what `hob backup` wrote, on a machine where no hob runs yet
///
/// The data directory must be empty or new. Whatever goes wrong, nothing of the backup is left in
/// it then.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The file, or - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    place: PlaceArgs,
}

impl Restore {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let data = self.place.data(&context.env)?;
        let shown = self.file.display();
        let progress = Progress::new(context.terminal);
        let (source, length): (Box<dyn Read>, _) = if self.file == Path::new(STDIN) {
            (Box::new(io::stdin().lock()), None)
        } else {
            let open = || {
                let file = File::open(&self.file)?;
                let length = file.metadata()?.len();
                Ok((file, length))
            };
            let (file, length) =
                open().map_err(|error: io::Error| Failure::failed(format!("{shown}: {error}")))?;
            (Box::new(file), Some(length))
        };
        let bar = progress.transfer("restoring", length);
        let restored = restore(bar.wrap_read(source), &data);
        bar.finish_and_clear();
        let restored = restored.map_err(|error| error.context(format!("{shown}")))?;
        if self.output.output == Format::Json {
            return output::json(&restored);
        }
        print(&restored, &data)
    }
}

fn print(restored: &Restored, data: &Path) -> anyhow::Result<()> {
    let shown = data.display();
    output::line(&format!(
        "{shown} is as it was {} ago: {}, {}, {}; `hob up` serves it",
        output::age(restored.made_at),
        output::count(restored.functions as usize, "function"),
        output::count(restored.secrets as usize, "secret"),
        output::count(restored.calls as usize, "waiting call"),
    ))?;
    if restored.secrets > 0 && !restored.identity {
        let identity = data.join(IDENTITY);
        eprintln!(
            "warning: the key to the secrets is not in this backup: put it back with `install -m 600 identity.txt {}` before `hob up`",
            identity.display()
        );
    }
    for lacking in &restored.lacking {
        eprintln!("warning: function {lacking}: deploy it again");
    }
    Ok(())
}
