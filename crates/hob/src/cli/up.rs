use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
    time::Instant,
};

use anyhow::Context as _;
use clap::Args;
use hob_store::AdminPassword;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::Context;
use crate::{
    app::{self, App, Doors, Notices},
    config::{Config, MetricsAddress, ServerArgs},
    exit::Failure,
    output,
    systemd::{Manager, PassedSockets},
};

/// What makes a port that is only for root one for everybody: 80 is 8080, 443 is 8443.
const UNPRIVILEGED: u16 = 8000;

/// Start the server and keep it in the foreground
///
/// SIGTERM and SIGINT stop it and all replicas; functions and secrets stay. SIGUSR2 stops it and
/// leaves the replicas running to the next `hob up` of the same data directory, which takes them
/// over, as it does when the server was killed.
#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    server: ServerArgs,
}

impl Up {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let started = Instant::now();
        let config = self.server.resolve(&context.env)?;
        log(&config.log);
        // Before there are threads, and before a child could get hold of them.
        let passed = PassedSockets::take(&context.env)?;
        let manager = Manager::of(&context.env);
        let doors = doors(&config, passed)?;
        let data = config.data.clone();
        let runtime = app::runtime()?;
        runtime.block_on(async {
            // Before anything is made that an early Ctrl-C would leave behind.
            let stop = stop_signal([SignalKind::terminate(), SignalKind::interrupt()])?;
            let hand_over = stop_signal([SignalKind::user_defined2()])?;
            let app = App::start(config, doors, &context.env).await?;
            let functions = output::count(app.notices().functions, "function");
            manager.ready(&format!("{functions} at {}", app.url()));
            let millis = started.elapsed().as_millis();
            let mut told = vec![
                format!("hob {}", env!("CARGO_PKG_VERSION")),
                format!("data       {}", data.display()),
                format!("listening  {}", app.url()),
            ];
            told.extend(app.tls().map(|url| format!("tls        {url}")));
            told.extend(app.redirect().map(|url| format!("redirect   {url}")));
            told.extend(app.metrics().map(|url| format!("metrics    {url}")));
            told.extend(describe(app.notices()));
            told.push(format!("ready in {millis} ms"));
            // A reader that went away is no reason to stop serving.
            let _ = output::line(&told.join("\n"));
            tokio::select! {
                () = stop => {
                    tracing::info!("stopping");
                    manager.stopping("stopping");
                    app.stop().await
                }
                () = hand_over => {
                    tracing::info!("stopping, replicas go on");
                    manager.stopping("stopping, replicas go on");
                    app.hand_over().await
                }
            }
        })
    }
}

fn describe(notices: &Notices) -> Vec<String> {
    let mut lines = vec![
        format!("isolation  {}", notices.isolation),
        format!("functions  {}", notices.functions),
    ];
    lines.extend(notices.password.iter().flat_map(shown_once));
    let warnings = notices.warnings.iter();
    lines.extend(warnings.map(|warning| format!("warning: {warning}")));
    lines
}

/// The password, and what it is for.
pub(super) fn shown_once(password: &AdminPassword) -> [String; 2] {
    [
        format!("password   {}", password.reveal()),
        "           for `hob login` from elsewhere, and for browsers; shown only this once"
            .to_owned(),
    ]
}

/// Ahead of what the owner wants of the log, which counts where both speak of the same.
const QUIET: &str = "h2=error";

/// Sends what hob has to tell to standard error.
pub(super) fn log(asked: &str) {
    // What odd clients do to a connection is no news, and a stranger must not fill the log with it.
    let quiet = format!("{QUIET},{asked}");
    let filter = EnvFilter::try_new(quiet).unwrap_or_default();
    let colour = io::IsTerminal::is_terminal(&io::stderr());
    // The first one stands: `hob dev` may have been there before.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        // It would say so on standard error, which is what cannot be written, and panic then: a log
        // on a full disk loses lines, and hob goes on.
        .log_internal_errors(false)
        .try_init();
}

/// Takes the addresses of a server, or says who has them and how to go on. A socket that was passed
/// counts before the settings: whoever holds it goes on accepting connections there.
pub(super) fn doors(config: &Config, passed: PassedSockets) -> anyhow::Result<Doors> {
    let asked = config.listen;
    let (calls, warning) = match passed.calls {
        Some(calls) => {
            let address = calls.local_addr()?;
            let ignored = asked.filter(|asked| *asked != address);
            (
                calls,
                ignored.map(|asked| no_effect("--listen", asked, address)),
            )
        }
        None => {
            let calls = listen(config.listen(), "--listen").map_err(Failure::failed)?;
            (calls, None)
        }
    };
    let mut doors = Doors::from(calls);
    doors.warnings.extend(warning);
    doors.metrics = match passed.metrics {
        Some(metrics) => {
            let address = metrics.local_addr()?;
            let ignored = match config.metrics {
                Some(MetricsAddress::Off) => Some(no_effect("--metrics", "off", address)),
                Some(MetricsAddress::At(asked)) if asked != address => {
                    Some(no_effect("--metrics", asked, address))
                }
                _ => None,
            };
            doors.warnings.extend(ignored);
            Some(metrics)
        }
        None => metrics_door(config, &mut doors.warnings)?,
    };
    (doors.tls, doors.redirect) =
        tls_doors(config, (passed.tls, passed.redirect), &mut doors.warnings)?;
    if let Some(metrics) = &doors.metrics
        && let address = metrics.local_addr()?
        && !address.ip().is_loopback()
    {
        doors.warnings.push(format!(
            "everybody who reaches {address} can read how every function is called and how much"
        ));
    }
    Ok(doors)
}

fn no_effect(flag: &str, asked: impl Display, address: SocketAddr) -> String {
    format!(
        "`{flag} {asked}` has no effect: systemd passed a socket, which listens on {address}: its unit says where"
    )
}

/// Those of `[tls]`, in the same way.
fn tls_doors(
    config: &Config,
    passed: (Option<TcpListener>, Option<TcpListener>),
    warnings: &mut Vec<String>,
) -> anyhow::Result<(Option<TcpListener>, Option<TcpListener>)> {
    let Some(tls) = &config.tls else {
        if passed.0.is_some() || passed.1.is_some() {
            let message = "systemd passes a socket for TLS, and the configuration has no `[tls]`: run `hob install` again";
            warnings.push(message.to_owned());
        }
        return Ok((None, None));
    };
    let mut take = |passed: Option<TcpListener>, key: &str, asked: SocketAddr| match passed {
        Some(door) => {
            let address = door.local_addr()?;
            if address != asked {
                warnings.push(no_effect(key, asked, address));
            }
            anyhow::Ok(door)
        }
        None => Ok(listen(asked, &format!("{key} =")).map_err(Failure::failed)?),
    };
    let door = take(passed.0, "tls.listen", tls.listen)?;
    let redirect = tls
        .redirect
        .map(|asked| take(passed.1, "tls.redirect", asked));
    Ok((Some(door), redirect.transpose()?))
}

fn metrics_door(
    config: &Config,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Option<TcpListener>> {
    let Some(address) = config.metrics() else {
        return Ok(None);
    };
    match listen(address, "--metrics") {
        Ok(metrics) => Ok(Some(metrics)),
        Err(problem) if config.metrics.is_some() => Err(Failure::failed(problem).into()),
        // Nobody asked for them: a second server on the machine serves calls all the same.
        Err(problem) => {
            warnings.push(format!(
                "there are no metrics: {problem}, or `--metrics off`"
            ));
            Ok(None)
        }
    }
}

/// Takes the address that `flag` sets.
pub(super) fn listen(address: SocketAddr, flag: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| {
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                let other = address.port().checked_add(1).unwrap_or(8080);
                format!(
                    "{address} is taken by another program (`ss -ltnp 'sport = :{}'` shows which): stop it, or use `{flag} {}`",
                    address.port(),
                    SocketAddr::new(address.ip(), other)
                )
            }
            io::ErrorKind::PermissionDenied => format!(
                "{address} is only for root, as all ports below 1024: use `{flag} {}`",
                SocketAddr::new(address.ip(), UNPRIVILEGED + address.port() % 1000)
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{} is no address of this machine: `ip addr` shows those that it has",
                address.ip()
            ),
            _ => format!("cannot listen on {address}: {error}"),
        }
    })
}

/// Completes with the first of these signals.
pub(super) fn stop_signal<const N: usize>(
    kinds: [SignalKind; N],
) -> anyhow::Result<impl Future<Output = ()>> {
    let signals = kinds.into_iter().map(signal);
    let mut signals = signals
        .collect::<io::Result<Vec<_>>>()
        .context("cannot wait for the order to stop")?;
    Ok(async move {
        let waiting = signals.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(waiting).await;
    })
}
