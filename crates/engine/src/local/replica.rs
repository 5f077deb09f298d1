use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use hob_model::{End, EndReason, Endpoint, FunctionName, IoWords, ReplicaId, port::EngineError};
use hob_sandbox::{
    Cage, CageLimits, CageNetwork, CageSpec, SandboxError,
    network::{Namespace, Outbound},
};
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use super::{
    environment::{Folders, socket_in, variables},
    host::{Host, PortLease},
    logs::{self, OpenLog},
    places::give,
    plan::{Home, Program},
    record::{Door, Record},
    scratch::Scratch,
    secrets::{SecretFolder, SecretLease},
};

/// How long a program has between SIGTERM and SIGKILL.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);
/// Where a folder's program listens that has a network of its own.
const OWN_PORT: u16 = 8080;
/// Longest name of a machine inside a cage, in bytes.
const HOSTNAME_MAX: usize = 64;

/// One running program in its cage.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) id: ReplicaId,
    pub(super) program: Arc<Program>,
    /// Process id on the host of the first process in the cage.
    pub(super) pid: u32,
    pub(super) started_at: SystemTime,
    /// Where it listens if it uses a unix socket, as a path on the host.
    pub(super) socket: PathBuf,
    /// Where it listens if it uses TCP.
    pub(super) tcp: Endpoint,
    /// What it writes to stdout and stderr.
    pub(super) log: PathBuf,
    record: Record,
    born: Instant,
    life: watch::Sender<Life>,
    /// Taken out when it has ended.
    belongings: Mutex<Option<Belongings>>,
}

/// How far a replica's process has come.
#[derive(Debug, Clone)]
pub(super) enum Life {
    Running,
    /// The program is no more; what it used is still there.
    Ended(End),
    /// Nothing of it is left but its log.
    Gone(End),
}

/// What goes with the replica, in the order in which it goes.
#[derive(Debug)]
pub(super) struct Belongings {
    pub(super) cage: Arc<Cage>,
    pub(super) scratch: Scratch,
    pub(super) secrets: SecretLease,
    pub(super) port: Port,
    pub(super) network: Option<Namespace>,
    pub(super) log: OpenLog,
}

/// Where a program is told to listen.
#[derive(Debug)]
pub(super) enum Port {
    /// On the machine's loopback interface, which all share.
    Leased(PortLease),
    /// In a network of its own.
    Own(u16),
}

// === impl Replica ===

impl Replica {
    /// Starts the program; it does not listen yet. Blocks for some milliseconds.
    pub(super) fn spawn(
        host: &Host,
        secrets: &Arc<SecretFolder>,
        program: &Arc<Program>,
    ) -> Result<Self, EngineError> {
        let name = &program.function;
        let broken = |what: &str, problem: io::Error| {
            EngineError::Host(format!("function `{name}`: {what}: {}", IoWords(&problem)))
        };
        let lease = secrets.lease(&program.revision.settings.secrets, &*host.secrets)?;
        let scratch = Scratch::new(host, program)?;
        let network = host.networks.lease(program)?;
        let port = Port::of(host, program, network.is_some())
            .map_err(|e| broken("no port to listen on", e))?;
        let folder = host.places.logs(name);
        let log = logs::path_of(&folder, &scratch.id);
        // The program may open its output again by name, as `/dev/stderr`.
        let output = logs::create(&folder, &scratch.id)
            .and_then(|output| give(&log, program.owner()).map(|()| output))
            .map_err(|e| broken(&format!("cannot make {}", log.display()), e))?;
        let open_log = host.logs.open(log.clone());
        let mut spec = cage_spec(program, &scratch, secrets.path(), port.number(), output);
        if let Some(namespace) = &network {
            host.networks.dress(&mut spec, namespace, program)?;
        }
        let cage = host.sandbox.spawn(spec).map_err(|problem| {
            let words = logs::last_words(&log);
            // Nothing ran, so nothing would ever look for this log.
            let _ = logs::discard(&folder, &scratch.id);
            explain(name, &problem, words)
        })?;
        let record = Record {
            replica: scratch.id.clone(),
            function: name.clone(),
            revision: program.revision.digest.clone(),
            started_at: SystemTime::now(),
            door: None,
            once: program.is_used_once(),
            port: port.number(),
            network: network
                .as_ref()
                .map(|network| host.networks.record(network)),
            owner: program.unusual_owner(),
            secrets: program.revision.settings.secrets.clone(),
            cage: cage.record(),
        };
        scratch
            .write(&record)
            .map_err(|e| broken(&format!("cannot write {}", scratch.record.display()), e))?;
        let belongings = Belongings {
            cage: Arc::new(cage),
            scratch,
            secrets: lease,
            port,
            network,
            log: open_log,
        };
        Ok(Self::new(program, record, belongings, log))
    }

    /// Goes on with what an earlier daemon started.
    pub(super) fn adopt(
        host: &Host,
        program: &Arc<Program>,
        record: Record,
        belongings: Belongings,
    ) -> Self {
        let folder = host.places.logs(&program.function);
        let log = logs::path_of(&folder, &record.replica);
        Self::new(program, record, belongings, log)
    }

    fn new(program: &Arc<Program>, record: Record, belongings: Belongings, log: PathBuf) -> Self {
        let age = record.started_at.elapsed().unwrap_or_default();
        let now = Instant::now();
        Self {
            id: ReplicaId(record.replica.as_str().into()),
            program: Arc::clone(program),
            pid: record.cage.pid,
            started_at: record.started_at,
            socket: socket_in(&belongings.scratch.folder),
            tcp: endpoint(belongings.network.as_ref(), belongings.port.number()),
            log,
            born: now.checked_sub(age).unwrap_or(now),
            record,
            life: watch::Sender::new(Life::Running),
            belongings: Mutex::new(Some(belongings)),
        }
    }

    /// Where it listens by that door.
    pub(super) fn endpoint(&self, door: Door) -> Endpoint {
        match door {
            Door::Socket => Endpoint::Unix(self.socket.clone()),
            Door::Port => self.tcp.clone(),
        }
    }

    /// Writes down where it takes calls from now on: the next daemon lets it go on there, and
    /// ends it where there is no such place. Blocks on a small file.
    pub(super) fn note(&self, door: Option<Door>) {
        // Held meanwhile, so that no record outlives the replica.
        let belongings = self.belongings();
        let Some(belongings) = belongings.as_ref() else {
            return;
        };
        let record = Record {
            door,
            ..self.record.clone()
        };
        if let Err(problem) = belongings.scratch.write(&record) {
            let problem = IoWords(&problem);
            tracing::warn!(replica = %self.id, %problem, "what becomes of it in a restart cannot be written down");
        }
    }

    /// Whether it finds other functions by their names.
    pub(super) fn looks_up_names(&self) -> bool {
        let outbound = self.program.network() == Some(Outbound::Yes);
        outbound && matches!(self.program.home, Home::Image { .. })
    }

    /// Time since it was started.
    pub(super) fn age(&self) -> Duration {
        self.born.elapsed()
    }

    /// Resident bytes and processor time so far of everything in the cage, where the machine can
    /// tell.
    pub(super) fn usage(&self) -> (Option<u64>, Option<Duration>) {
        let cage = self.cage();
        cage.map_or((None, None), |cage| (cage.memory(), cage.cpu_time()))
    }

    /// `None` once the replica has ended.
    pub(super) fn cage(&self) -> Option<Arc<Cage>> {
        let belongings = self.belongings();
        belongings.as_ref().map(|all| Arc::clone(&all.cage))
    }

    /// Waits for the end of the program.
    pub(super) async fn ended(&self) -> End {
        self.reached(|life| !matches!(life, Life::Running)).await
    }

    /// Waits until nothing is left of it.
    pub(super) async fn gone(&self) -> End {
        self.reached(|life| matches!(life, Life::Gone(_))).await
    }

    /// Asks the program to end, and makes it after a grace. Returns when nothing is left.
    pub(super) async fn stop(&self, grace: Duration) {
        if let Some(cage) = self.cage() {
            cage.terminate();
        }
        if timeout(grace, self.ended()).await.is_err() {
            self.kill().await;
        }
        self.gone().await;
    }

    /// Ends every process in the cage at once.
    pub(super) async fn kill(&self) {
        if let Some(cage) = self.cage() {
            // A panic in there is shown by the runtime; the cage's drop kills once more.
            let _ = spawn_blocking(move || cage.kill()).await;
        }
    }

    /// The program has ended: whoever waits may know.
    pub(super) fn announce(&self, life: Life) {
        self.life.send_replace(life);
    }

    /// Removes everything that goes with the replica, its log excepted. Blocks.
    pub(super) fn clear(&self) {
        let belongings = self.belongings().take();
        drop(belongings);
    }

    /// Leaves everything that goes with it to the next daemon, the program running. Blocks on
    /// files.
    pub(super) fn let_go(&self) {
        if let Some(belongings) = self.belongings().take() {
            belongings.let_go();
        }
    }

    async fn reached(&self, far: impl Fn(&Life) -> bool) -> End {
        let mut life = self.life.subscribe();
        match life.wait_for(far).await.as_deref() {
            Ok(Life::Ended(end) | Life::Gone(end)) => end.clone(),
            // The sender lives in `self`, so this needs no better words.
            Ok(Life::Running) | Err(_) => End::new(EndReason::Host, "the replica is lost"),
        }
    }

    fn belongings(&self) -> std::sync::MutexGuard<'_, Option<Belongings>> {
        self.belongings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn endpoint(network: Option<&Namespace>, port: u16) -> Endpoint {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match network {
        None => Endpoint::Tcp(address),
        Some(namespace) => Endpoint::Namespace {
            namespace: namespace.path().to_owned(),
            address,
        },
    }
}

// === impl Belongings ===

impl Belongings {
    /// Nothing of it is removed.
    pub(super) fn let_go(self) {
        // Takes a last look at the log.
        drop(self.log);
        let rest = (
            self.cage,
            self.scratch,
            self.secrets,
            self.port,
            self.network,
        );
        std::mem::forget(rest);
    }
}

// === impl Port ===

impl Port {
    fn of(host: &Host, program: &Program, own_network: bool) -> io::Result<Self> {
        match (own_network, &program.home) {
            (true, Home::Image { run, .. }) => Ok(Self::Own(run.port)),
            (true, Home::Bundle(_)) => Ok(Self::Own(OWN_PORT)),
            (false, _) => host.lease_port().map(Self::Leased),
        }
    }

    fn number(&self) -> u16 {
        match self {
            Self::Leased(lease) => lease.number(),
            Self::Own(port) => *port,
        }
    }
}

fn cage_spec(
    program: &Program,
    scratch: &Scratch,
    secrets: &Path,
    port: u16,
    output: fs::File,
) -> CageSpec {
    let folders = Folders {
        bundle: match &program.home {
            Home::Bundle(bundle) => Some(bundle),
            Home::Image { .. } => None,
        },
        own: &scratch.folder,
        secrets,
    };
    let inside = folders.seen_from(program.cage.isolation);
    let limits = &program.revision.settings.limits;
    let hostname = program.function.name();
    CageSpec {
        id: scratch.id.clone(),
        isolation: program.cage.isolation,
        mechanism: program.cage.mechanism.clone(),
        argv: program.argv.clone(),
        env: variables(program, &inside, port),
        hostname: hostname[..hostname.len().min(HOSTNAME_MAX)].to_owned(),
        root: program.home.root(),
        files: Vec::new(),
        binds: folders.binds(&inside),
        cwd: program.home.cwd().unwrap_or(inside.bundle),
        limits: CageLimits {
            memory: limits.memory.0,
            cpu_millis: limits.cpu.0,
            pids: limits.pids,
            tmp: limits.tmp.0,
            files: limits.files,
        },
        output,
        user: program.home.user(),
        stop_signal: program.home.stop_signal(),
        network: CageNetwork::Host,
    }
}

fn explain(name: &FunctionName, problem: &SandboxError, log_tail: Vec<String>) -> EngineError {
    let message = format!("function `{name}` cannot start: {problem}");
    match problem {
        SandboxError::Unable { .. } => EngineError::Unsupported(message),
        mine if mine.is_callers_fault() => EngineError::Start {
            reason: EndReason::Exit,
            message,
            log_tail,
        },
        _ => EngineError::Host(message),
    }
}
