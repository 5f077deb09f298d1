//! The one place that names every crate and puts the server together.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::Arc,
};

use hob_control::{Access, Control, ControlConfig, ControlParts};
use hob_engine::{LocalConfig, LocalEngine};
use hob_gateway::{GatewayHandle, Listeners};
use hob_model::{Isolation, port::Sandboxes};
use hob_sandbox::{Able, Mechanism, Sandbox, SandboxConfig};
use hob_store::{AdminPassword, Store};
use sha2::{Digest, Sha256};
use socket2::{Domain, Socket, Type};
use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{client::Address, config::Config, environment::Environment, exit::Failure};

mod connection;
mod end;
mod gateway;
mod local_socket;
mod metrics_server;
mod parts;
mod run_folder;
mod sandboxes;
mod worker;

use end::Unserved;
use local_socket::LocalSocket;
use metrics_server::MetricsServer;
use parts::{Ground, Shared};
pub(crate) use run_folder::{RunFolder, candidates, is_tmpfs};
pub(crate) use worker::WorkerApp;

/// Threads of the control plane; calls have threads of their own in the gateway.
const CONTROL_THREADS: usize = 2;
/// Makes this executable a cage's helper; see `hob_sandbox::run_helper_if_asked`.
pub(crate) const HELPER_ARGUMENT: &str = "cage-init";
/// Hexadecimal digits of the data directory's hash that tell servers of one machine apart.
const ID_DIGITS: usize = 10;
/// As many of these as fit into the name of a network link.
const BRIDGE_DIGITS: usize = 5;
/// Where images expect their gateway: `gateway.openfaas:8080`.
const FUNCTION_GATEWAY_PORT: u16 = 8080;
/// Connections from images that wait to be accepted.
const FUNCTION_BACKLOG: i32 = 1024;

/// A running server.
pub(crate) struct App {
    gateway: GatewayHandle,
    socket: LocalSocket,
    metrics: Option<MetricsServer>,
    engine: Arc<LocalEngine>,
    sandboxes: Option<Arc<dyn Sandboxes>>,
    background: JoinHandle<()>,
    stop: CancellationToken,
    run: RunFolder,
    notices: Notices,
}

/// The addresses that a server has taken.
pub(crate) struct Doors {
    /// For calls and the control API.
    pub(crate) calls: TcpListener,
    /// For Prometheus.
    pub(crate) metrics: Option<TcpListener>,
    /// For calls and the control API, by TLS.
    pub(crate) tls: Option<TcpListener>,
    /// Sends everybody there.
    pub(crate) redirect: Option<TcpListener>,
    /// What the owner should know of them, one line each.
    pub(crate) warnings: Vec<String>,
}

/// What a starting server has to tell its owner.
pub(crate) struct Notices {
    /// How replicas are caged unless they ask otherwise.
    pub(crate) isolation: String,
    /// What this machine cannot enforce, one line each.
    pub(crate) warnings: Vec<String>,
    /// The admin password, only when it has just been made.
    pub(crate) password: Option<AdminPassword>,
    /// Functions that are there again.
    pub(crate) functions: usize,
}

/// The runtime for [`App::start`].
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("hob-control")
        .enable_all()
        .build()?;
    Ok(runtime)
}

// === impl App ===

impl App {
    /// Brings everything up; on return calls are served.
    ///
    /// # Errors
    /// One line with the cure; nothing is left running.
    pub(crate) async fn start(
        config: Config,
        doors: Doors,
        env: &Environment,
    ) -> anyhow::Result<Self> {
        let address = doors.calls.local_addr()?;
        doors.refuse_open_runs(&config)?;
        // First: it keeps every other server out of the data directory.
        let store = Store::open(&config.data)?;
        let id = id(&config.data)?;
        let run = RunFolder::make(&config.data, &id, env)?;
        let sandbox = sandbox(&id, run.path())?;
        let shared = Shared::new(&config)?;
        let mut listeners = listeners(&config, doors.calls, env)?;
        (listeners.tls, listeners.redirect) = (doors.tls, doors.redirect);
        let engine = LocalEngine::new(
            engine_config(&config, &run, &id, &listeners),
            Arc::clone(&sandbox),
            Arc::clone(&shared.routes),
            Arc::clone(&shared.secrets) as _,
        )?;
        // A start that fails from here on leaves replicas to the next.
        let unserved = Unserved(Some(Arc::clone(&engine)));
        // After the engine has swept up what an earlier server left, or it would sweep this.
        sandbox.warm();
        let sandboxes = sandboxes::sandboxes(&config, &sandbox, run.path(), env)?;
        let mut notices = notices(&config, &sandbox, &run, address)?;
        notices.warnings.extend(doors.warnings);
        let ground = Ground {
            store,
            sandbox,
            engine: Arc::clone(&engine),
            sandboxes: sandboxes.clone(),
            shared: shared.clone(),
        };
        let parts = ground.control_parts(&config, address, env)?;
        let asked = control_config(&config, &notices, &listeners, doors.metrics.as_ref())?;
        let control = restored(asked, parts, &mut notices).await?;
        engine.settle();
        let socket = LocalSocket::serve(run.path(), control.router(Access::Local))?;
        let serve = |door| MetricsServer::serve(door, control.metrics_router());
        let metrics = doors.metrics.map(serve).transpose()?;
        let gateway = gateway::start(&config, &control, listeners, shared)?;
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        // After the gateway, by which it makes the calls that are queued.
        let background = tokio::spawn(control.run(gateway.dialer(), stopped));
        unserved.are_served();
        Ok(Self {
            gateway,
            socket,
            metrics,
            engine,
            sandboxes,
            background,
            stop,
            run,
            notices,
        })
    }

    /// Where calls are accepted.
    pub(crate) fn url(&self) -> Address {
        self.gateway.local_addr().into()
    }

    /// Where calls are accepted by TLS.
    pub(crate) fn tls(&self) -> Option<String> {
        self.gateway.tls_addr().map(by_tls)
    }

    /// Where everybody is sent there.
    pub(crate) fn redirect(&self) -> Option<Address> {
        self.gateway.redirect_addr().map(Address::from)
    }

    /// Where Prometheus reads.
    pub(crate) fn metrics(&self) -> Option<String> {
        self.metrics.as_ref().map(MetricsServer::url)
    }

    /// Where the control API listens on this machine.
    pub(crate) fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// What the owner should read.
    pub(crate) fn notices(&self) -> &Notices {
        &self.notices
    }
}

impl From<TcpListener> for Doors {
    fn from(calls: TcpListener) -> Self {
        Self {
            calls,
            metrics: None,
            tls: None,
            redirect: None,
            warnings: Vec::new(),
        }
    }
}

impl Doors {
    /// Strangers may have something run only as often as the owner says.
    fn refuse_open_runs(&self, config: &Config) -> anyhow::Result<()> {
        let doors = [Some(&self.calls), self.tls.as_ref()];
        let listening = doors.into_iter().flatten().map(TcpListener::local_addr);
        let listening = listening.collect::<Result<Vec<_>, _>>()?;
        let proxied = !config.proxies.trusted.is_empty();
        let open = config.sandbox.check_open(&listening, proxied);
        open.map_err(|problem| Failure::usage(problem).into())
    }
}

/// How calls are made by TLS at an address: `https://0.0.0.0:443`.
fn by_tls(address: SocketAddr) -> String {
    format!("https://{address}")
}

/// Tells the server of this data directory from all others on the machine, and stays the same
/// from start to start: what a killed server left behind is found by it.
fn id(data: &Path) -> anyhow::Result<String> {
    let data = data.canonicalize()?;
    let hash = Sha256::digest(data.as_os_str().as_encoded_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(hex[..ID_DIGITS].to_owned())
}

fn sandbox(id: &str, run: &Path) -> anyhow::Result<Arc<Sandbox>> {
    let sandbox = Sandbox::new(SandboxConfig {
        helper: PathBuf::from("/proc/self/exe"),
        helper_args: vec![HELPER_ARGUMENT.into()],
        cgroup_name: format!("hob-{id}"),
        state: run.join("sandbox"),
    })?;
    Ok(Arc::new(sandbox))
}

fn engine_config(config: &Config, run: &RunFolder, id: &str, listeners: &Listeners) -> LocalConfig {
    let mut local = LocalConfig::new(config.data.clone(), run.path().to_owned());
    local.network.bridge = format!("hob{}", &id[..BRIDGE_DIGITS]);
    if let Some(subnet) = config.subnet {
        local.network.subnet = subnet;
    }
    if listeners.functions.is_some() || listeners.function_address.is_some() {
        // Else the port would be that of somebody else.
        local.network.gateway_ports = vec![FUNCTION_GATEWAY_PORT];
    }
    local.isolation = config.isolation;
    local.log_quota = config.log_quota.unwrap_or(local.log_quota);
    local
}

/// The control plane as it was when it was stopped, and what there is to tell of it.
async fn restored(
    config: ControlConfig,
    parts: ControlParts,
    notices: &mut Notices,
) -> anyhow::Result<Arc<Control>> {
    notices.password = parts.store.ensure_admin_password()?;
    let control = Control::new(config, parts);
    notices.functions = control.restore().await?.functions;
    // Before anybody comes by TLS, and after it is known whose the hosts are.
    control.look_after_certificates().await;
    Ok(control)
}

fn control_config(
    config: &Config,
    notices: &Notices,
    listeners: &Listeners,
    metrics: Option<&TcpListener>,
) -> anyhow::Result<ControlConfig> {
    let address = listeners.main.local_addr()?;
    let tls = listeners.tls.as_ref().map(TcpListener::local_addr);
    let metrics = metrics.map(TcpListener::local_addr).transpose()?;
    Ok(ControlConfig {
        data: config.data.clone(),
        gateway: Address::from(address).to_string(),
        tls: tls.transpose()?.map(by_tls),
        metrics: metrics.map(metrics_server::url),
        isolation: notices.isolation.clone(),
        queue: config.queue,
        keep_revisions: config.keep_revisions,
        warnings: notices.warnings.clone(),
        runs: config.sandbox.runs(),
        runtime: Handle::current(),
    })
}

/// Listens where images look for `gateway.openfaas:8080` as well, ahead of the address itself,
/// which comes with the first of them.
fn listeners(config: &Config, main: TcpListener, env: &Environment) -> anyhow::Result<Listeners> {
    let mut listeners = Listeners::from(main);
    if !env.root {
        // Images take root.
        return Ok(listeners);
    }
    let subnet = config.subnet.unwrap_or_default();
    listeners.function_network = subnet.to_string().parse().ok();
    let gateway = subnet.gateway();
    let own = listeners.main.local_addr()?;
    if own.ip().is_unspecified() && own.port() == FUNCTION_GATEWAY_PORT {
        listeners.function_address = Some(gateway.into());
        return Ok(listeners);
    }
    let address = SocketAddr::from((gateway, FUNCTION_GATEWAY_PORT));
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_freebind_v4(true)?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(FUNCTION_BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    match listen() {
        Ok(functions) => listeners.functions = Some(functions),
        Err(error) => {
            let error: std::io::Error = error;
            tracing::warn!(%address, %error, "images will not reach the gateway: another program has its address, or another hob, which needs a --subnet of its own");
        }
    }
    Ok(listeners)
}

/// Says how functions are caged, and refuses a cage that was asked for and cannot be made.
fn notices(
    config: &Config,
    sandbox: &Sandbox,
    run: &RunFolder,
    address: SocketAddr,
) -> anyhow::Result<Notices> {
    let machine = sandbox.capabilities();
    if let Some(level) = config.isolation
        && let Able::No { why, cure } = machine.able(level, &Mechanism::Native)
    {
        let message = format!("isolation `{level}` is not possible here: {why}; {cure}");
        return Err(Failure::failed(message).into());
    }
    let level = config.isolation.or(machine.strongest());
    let mut warnings = machine.warnings.clone();
    if config.isolation.is_none()
        && let Able::No { why, cure } = &machine.container
    {
        let level = level.map_or("none", Isolation::as_str);
        warnings.push(format!(
            "isolation is {level}, not container: {why}; {cure}"
        ));
    }
    warnings.extend(run.warning());
    if !address.ip().is_loopback() {
        warnings.push(format!(
            "everybody who reaches {address} can call every function, and traffic is not encrypted; the control API asks for the password"
        ));
    }
    Ok(Notices {
        isolation: level.map_or("none".into(), |level| level.to_string()),
        warnings,
        password: None,
        functions: 0,
    })
}
