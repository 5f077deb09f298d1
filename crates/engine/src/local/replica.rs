use std::{
    fs,
    hash::{BuildHasher, RandomState},
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use hob_model::{End, EndReason, Endpoint, FunctionName, ReplicaId, port::EngineError};
use hob_sandbox::{
    Cage, CageLimits, CageNetwork, CageRecord, CageSpec, SandboxError, network::Namespace,
};
use serde::Serialize;
use tokio::{sync::watch, task::spawn_blocking, time::timeout};

use super::{
    environment::{Folders, socket_in, variables},
    host::{Host, PortLease},
    logs::{self, OpenLog},
    places::{give, own_folder, remove_file, remove_tree},
    plan::{Home, Program},
    secrets::{SecretFolder, SecretLease},
};

/// How long a program has between SIGTERM and SIGKILL.
pub(super) const STOP_GRACE: Duration = Duration::from_secs(2);
/// Where a folder's program listens that has a network of its own.
const OWN_PORT: u16 = 8080;
/// How much of the function's name goes into the name of a replica.
const ID_NAME_MAX: usize = 40;
/// How often a name for a replica is looked for; a second try is rare already.
const ID_TRIES: usize = 16;
/// Longest path of a unix socket that the kernel takes, in bytes.
const SOCKET_PATH_MAX: usize = 107;
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
struct Belongings {
    cage: Arc<Cage>,
    _scratch: Scratch,
    _secrets: SecretLease,
    _port: Port,
    _network: Option<Namespace>,
    _log: OpenLog,
}

/// Where a program is told to listen.
#[derive(Debug)]
enum Port {
    /// On the machine's loopback interface, which all share.
    Leased(PortLease),
    /// In a network of its own.
    Own(u16),
}

/// The replica's own folder and its record.
#[derive(Debug)]
struct Scratch {
    id: String,
    folder: PathBuf,
    record: PathBuf,
}

/// What `run/replicas/<id>.json` says.
#[derive(Serialize)]
struct Record<'a> {
    replica: &'a str,
    function: &'a FunctionName,
    revision: &'a str,
    cage: CageRecord,
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
            EngineError::Host(format!("function `{name}`: {what}: {problem}"))
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
        scratch
            .write_record(program, &cage)
            .map_err(|e| broken("cannot write the replica's record", e))?;
        Ok(Self {
            id: ReplicaId(scratch.id.as_str().into()),
            program: Arc::clone(program),
            pid: cage.pid(),
            started_at: SystemTime::now(),
            socket: socket_in(&scratch.folder),
            tcp: endpoint(network.as_ref(), port.number()),
            log,
            born: Instant::now(),
            life: watch::Sender::new(Life::Running),
            belongings: Mutex::new(Some(Belongings {
                cage: Arc::new(cage),
                _scratch: scratch,
                _secrets: lease,
                _port: port,
                _network: network,
                _log: open_log,
            })),
        })
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

// === impl Scratch ===

impl Scratch {
    fn new(host: &Host, program: &Program) -> Result<Self, EngineError> {
        let function = &program.function;
        for _ in 0..ID_TRIES {
            let id = fresh_id(function.name());
            let folder = host.places.replica(&id, program.unusual_owner());
            check_length(&socket_in(&folder))?;
            match own_folder(&folder, program.owner()) {
                Ok(()) => {
                    let record = host.places.record(&id);
                    return Ok(Self { id, folder, record });
                }
                Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {}
                Err(problem) => {
                    let folder = folder.display();
                    return Err(EngineError::Host(format!(
                        "cannot make {folder}: {problem}"
                    )));
                }
            }
        }
        Err(EngineError::Host(format!(
            "function `{function}`: no free name for a replica was found"
        )))
    }

    fn write_record(&self, program: &Program, cage: &Cage) -> io::Result<()> {
        let record = Record {
            replica: &self.id,
            function: &program.function,
            revision: &program.revision.digest,
            cage: cage.record(),
        };
        fs::write(&self.record, serde_json::to_vec_pretty(&record)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let cleared = remove_tree(&self.folder).and_then(|()| remove_file(&self.record));
        if let Err(problem) = cleared {
            let folder = self.folder.display();
            tracing::warn!(%folder, %problem, "a replica's folder could not be removed");
        }
    }
}

/// `hello-3f9a1c`: for people, and different each time.
fn fresh_id(name: &str) -> String {
    let name = name[..name.len().min(ID_NAME_MAX)].trim_end_matches('-');
    // The standard library seeds each `RandomState` differently; the folder, made exclusively,
    // settles the rest.
    let random = RandomState::new().hash_one(std::process::id());
    format!("{name}-{:06x}", random & 0xff_ffff)
}

fn check_length(socket: &Path) -> Result<(), EngineError> {
    let length = socket.as_os_str().len();
    if length <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(EngineError::Host(format!(
        "socket path {} has {length} bytes and the kernel takes {SOCKET_PATH_MAX}: use a data directory with a shorter path",
        socket.display()
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_different_and_fit_for_a_cage() {
        let long = format!("{}-{}", "a".repeat(39), "b".repeat(23));
        let (one, two) = (fresh_id(&long), fresh_id(&long));
        assert_ne!(one, two);
        assert_eq!(one.len(), 39 + 7);
        assert!(one.starts_with(&format!("{}-", "a".repeat(39))));
    }

    #[test]
    fn a_socket_path_beyond_the_kernels_limit_is_refused() {
        assert!(check_length(Path::new(&"x".repeat(107))).is_ok());
        let refusal = check_length(Path::new(&"x".repeat(108))).unwrap_err();
        assert!(refusal.to_string().contains("108 bytes"));
    }
}
