use std::{
    fs::File,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use hob_model::IoWords;
use http::Method;
use http_body_util::BodyExt;
use indicatif::ProgressBar;
use tempfile::NamedTempFile;

use super::{Context, progress::Progress, session::Session};
use crate::{client::empty, config::ClientArgs, exit::Failure, output};

/// Standard output, as the name of a file.
const STDOUT: &str = "-";

/// Write everything that must survive to one file, while the server runs
///
/// Functions with their bundles and images, secrets as they are sealed, the key to them, schedules,
/// asynchronous calls that wait, what is known of registries and the machine's own certificate
/// authority. `hob restore` brings it back; `tar -tzf` shows what is in it.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file, as in hob-backup.tar.gz, or - for standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Leave the key to the secrets out, and keep it elsewhere
    #[arg(long)]
    no_identity: bool,
    /// Leave images out; functions of images then have to be deployed again
    #[arg(long)]
    no_images: bool,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    client: ClientArgs,
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let session = Session::open(self.client.clone(), context)?;
        let path = format!(
            "/hob/v1/backup?identity={}&images={}",
            !self.no_identity, !self.no_images
        );
        let bar = Progress::new(context.terminal).transfer("backing up", None);
        let shown = self.file.display().to_string();
        let cannot = |error: io::Error| Failure::failed(format!("{shown}: {}", IoWords(&error)));
        let receive = |out: &mut dyn Write| receive(&session, &path, context, out, &bar, &cannot);
        if self.file == Path::new(STDOUT) {
            if io::stdout().is_terminal() {
                let message =
                    "a backup is no text for a terminal: name a file, or send it on with |";
                return Err(Failure::usage(message).into());
            }
            let mut out = io::stdout().lock();
            receive(&mut out)?;
            out.flush().map_err(cannot)?;
            self.warn("it");
            return Ok(());
        }
        let exists = || Failure::failed(format!("{shown} is there: --force writes over it"));
        if self.file.exists() && !self.force {
            return Err(exists().into());
        }
        let folder = match self.file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Under its name only when all of it is there; only its owner reads it.
        let mut file = NamedTempFile::new_in(folder).map_err(cannot)?;
        receive(&mut file)?;
        file.as_file().sync_all().map_err(cannot)?;
        let length = file.as_file().metadata().map_err(cannot)?.len();
        let persisted = match self.force {
            true => file.persist(&self.file),
            false => file.persist_noclobber(&self.file),
        };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(),
            _ => cannot(error.error),
        })?;
        let folder = File::open(folder).and_then(|folder| folder.sync_all());
        folder.map_err(cannot)?;
        self.warn(&shown);
        let what = match (self.no_identity, self.no_images) {
            (false, false) => "it all",
            (true, false) => "all but the key to the secrets",
            (false, true) => "all but images",
            (true, true) => "all but images and the key to the secrets",
        };
        output::line(&format!(
            "{shown} holds {what} ({}); `hob restore {shown}` brings it back",
            output::bytes(length)
        ))
    }

    fn warn(&self, file: &str) {
        if !self.no_identity {
            eprintln!(
                "warning: {file} holds the key to the secrets, and whoever has it reads them all: keep it as safe, or use --no-identity"
            );
        }
    }
}

fn receive(
    session: &Session,
    path: &str,
    context: &Context,
    out: &mut dyn Write,
    bar: &ProgressBar,
    cannot: &dyn Fn(io::Error) -> Failure,
) -> anyhow::Result<()> {
    context.wait(async {
        let answer = session.client.stream(Method::GET, path, empty(), None);
        let mut body = answer.await?.into_body();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| {
                Failure::failed(format!(
                    "the backup broke off, the server's log says why: {error}"
                ))
            })?;
            if let Ok(data) = frame.into_data() {
                out.write_all(&data).map_err(cannot)?;
                bar.inc(data.len() as u64);
            }
        }
        bar.finish_and_clear();
        Ok(())
    })
}
