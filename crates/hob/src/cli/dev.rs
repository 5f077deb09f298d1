mod watch;

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use clap::Args;
use hob_control::QueueLimits;
use hob_gateway::Proxies;
use hob_model::{FunctionName, wire::LogLine};
use http::Method;
use tokio::signal::unix::SignalKind;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Context, deploy,
    progress::Progress,
    secret,
    session::{Session, function_path},
    up,
};
use crate::{
    app::{self, App},
    client::{Address, Client, empty},
    config::{
        BansConfig, Config, KEEP_REVISIONS, LimitsConfig, MetricsAddress, SandboxesConfig,
        parse_listen, parse_log,
    },
    exit::report,
    output, pack,
    systemd::PassedSockets,
};
use watch::Watch;

/// Not the server's own port, so that both can run.
const LISTEN: &str = "127.0.0.1:8081";
/// Cages reach their bundles through the folder, but nobody else may list it.
const DATA_MODE: u32 = 0o711;

/// Run one function in the foreground and build it anew on every change
///
/// Needs no server: it brings its own, with an empty data directory that goes away at the end.
/// When a build fails, what ran before goes on.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Folder of the function
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,
    /// Name of the function [default: `name` in hob.toml, else the folder's name]
    #[arg(long)]
    name: Option<FunctionName>,
    /// Address for calls
    #[arg(long, value_name = "ADDRESS", default_value = LISTEN, value_parser = parse_listen)]
    listen: SocketAddr,
    /// Folder whose files are the secrets that the function may name
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// What to log on standard error
    #[arg(long, value_name = "FILTER", default_value = "warn", value_parser = parse_log)]
    log: String,
}

impl Dev {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => deploy::name_of(&self.folder)?.as_str().parse()?,
        };
        let data = tempfile::Builder::new()
            .prefix("hob-dev-")
            .permissions(fs::Permissions::from_mode(DATA_MODE))
            .tempdir()?;
        let config = Config {
            queue: QueueLimits::default(),
            keep_revisions: KEEP_REVISIONS,
            log_quota: None,
            data: data.path().to_owned(),
            listen: Some(self.listen),
            metrics: Some(MetricsAddress::Off),
            isolation: None,
            registry: false,
            subnet: None,
            log: self.log.clone(),
            tls: None,
            proxies: Proxies::default(),
            bans: BansConfig::default(),
            limits: LimitsConfig::default(),
            access_log: None,
            sandbox: SandboxesConfig::default(),
        };
        up::log(&config.log);
        let doors = up::doors(&config, PassedSockets::default())?;
        app::runtime()?.block_on(async {
            let kinds = [
                SignalKind::terminate(),
                SignalKind::interrupt(),
                SignalKind::hangup(),
            ];
            let stop = up::stop_signal(kinds)?;
            let app = App::start(config, doors, &context.env).await?;
            for warning in &app.notices().warnings {
                eprintln!("warning: {warning}");
            }
            let bench = Bench {
                client: Client::without_login(Address::Socket(app.socket().to_owned())),
                name,
                folder: self.folder.canonicalize()?,
                url: app.url(),
            };
            let worked = tokio::select! {
                worked = bench.work(self.secrets.as_deref(), context) => worked,
                () = stop => Ok(()),
            };
            app.stop().await?;
            worked
        })
    }
}

/// What `hob dev` works on.
#[derive(Clone)]
struct Bench {
    client: Client,
    name: FunctionName,
    folder: PathBuf,
    url: Address,
}

impl Bench {
    /// Deploys at once and after every change. Ends only with an error that no change mends.
    async fn work(&self, secrets: Option<&Path>, context: &Context) -> anyhow::Result<()> {
        if let Some(folder) = secrets {
            self.keep_secrets(folder).await?;
        }
        let mut watch = Watch::new(&self.folder)?;
        let mut logs = None;
        loop {
            let progress = Progress::new(context.terminal);
            match self.deploy(&progress).await {
                Ok(line) => {
                    progress.finish();
                    output::line(&line)?;
                    // There is a log to follow once the function is there.
                    logs.get_or_insert_with(|| {
                        AbortOnDropHandle::new(tokio::spawn(self.clone().follow_logs()))
                    });
                }
                Err(error) => {
                    progress.finish();
                    report(&error);
                    eprintln!("waiting for a change in {}", self.folder.display());
                }
            }
            let changed = watch.changed().await?;
            eprintln!("{} changed", changed.display());
        }
    }

    async fn deploy(&self, progress: &Progress) -> anyhow::Result<String> {
        let archive = pack::pack(&self.folder)?;
        let path = function_path(&self.name, "");
        let done = deploy::send(&self.client, &path, None, archive, progress).await?;
        let url = format!("{}{}", self.url, done.function.path);
        Ok(deploy::summary(&done, &url))
    }

    async fn keep_secrets(&self, folder: &Path) -> anyhow::Result<()> {
        let session = Session::with(self.client.clone());
        for (name, value) in secret::read_folder(folder)? {
            let path = secret::secret_path(&name, session.namespace());
            session.client.put(&path, value).await?;
        }
        Ok(())
    }

    async fn follow_logs(self) {
        // It ends with the server, and by then there is nobody to tell.
        let _ = self.print_logs().await;
    }

    async fn print_logs(&self) -> anyhow::Result<()> {
        let path = function_path(&self.name, "/logs?follow=true");
        let answer = self
            .client
            .stream(Method::GET, &path, empty(), None)
            .await?;
        let mut lines = self.client.lines(answer);
        while let Some(json) = lines.next().await? {
            let line: LogLine =
                serde_json::from_slice(&json).map_err(|error| lines.broken(error))?;
            output::line(&line.text)?;
        }
        Ok(())
    }
}
