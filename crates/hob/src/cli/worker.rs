use std::time::Instant;

use clap::Args;
use tokio::signal::unix::SignalKind;

use super::{
    Context,
    up::{listen, log, stop_signal},
};
use crate::{
    app::{self, WorkerApp},
    config::WorkerArgs,
    exit::Failure,
    output,
    systemd::Manager,
};

const EXAMPLES: &str = "\
Examples:
  hob worker --id box-2 --public-key 2f8e…           for a server elsewhere, which has the private key
  hob worker --once --no-auth --listen 0.0.0.0:8001  as a worker of bfaas, in a network of its own";

/// Run in sandboxes what a server on another machine sends, and keep that in the foreground
///
/// The server names this worker in its `[[sandbox.workers]]`. What a run may use is in `[sandbox]`
/// of this machine's configuration. SIGTERM and SIGINT end all runs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Worker {
    #[command(flatten)]
    worker: WorkerArgs,
}

impl Worker {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let started = Instant::now();
        let config = self.worker.resolve(&context.env)?;
        log(&config.log);
        let door = listen(config.listen, "--listen").map_err(Failure::failed)?;
        let manager = Manager::of(&context.env);
        let mut told = vec![
            format!("hob {}", env!("CARGO_PKG_VERSION")),
            format!("worker     {}", config.id),
        ];
        let warning = config.public_key.is_none().then(|| {
            "warning: no key: everybody who reaches the address can have something run".to_owned()
        });
        app::runtime()?.block_on(async {
            let stop = stop_signal([SignalKind::terminate(), SignalKind::interrupt()])?;
            let level = config.sandbox.level;
            let app = WorkerApp::start(config, door, &context.env).await?;
            manager.ready(&format!("runs at {}", app.url()));
            told.push(format!("listening  {}", app.url()));
            told.push(format!("sandbox    {level}"));
            told.extend(warning);
            told.push(format!("ready in {} ms", started.elapsed().as_millis()));
            // A reader that went away is no reason to stop serving.
            let _ = output::line(&told.join("\n"));
            tokio::select! {
                () = stop => tracing::info!("stopping"),
                () = app.spent() => tracing::info!("had its run"),
            }
            manager.stopping("stopping");
            app.stop().await
        })
    }
}
