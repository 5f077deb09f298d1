//! `hob worker`: a pool of sandboxes and one door to it, and nothing else of a server.

mod admission;
mod once;
mod peers;

use std::{
    net::{SocketAddr, TcpListener as StdListener},
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use axum::{
    Extension, Router,
    body::Body,
    extract::Request,
    middleware::{Next, from_fn},
    response::Response,
};
use futures_util::{StreamExt, stream};
use hob_control::{Runs, RunsConfig};
use hob_engine::pool::{Gate, WorkerId};
use hob_model::{CallerAddress, port::Sandboxes, sandbox::WORKER};
use http::{HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{ID_DIGITS, RunFolder, connection, sandbox, sandboxes};
use crate::{client::Address, config::WorkerConfig, environment::Environment};
use admission::Admission;
use once::Once;
use peers::Peers;

/// Connections beside those of runs: of callers in line, and of those that are turned away.
const SPARE_CONNECTIONS: usize = 256;
/// Connections beside those of runs that one peer may have.
const SPARE_OF_PEER: usize = 64;
/// How long answers under way may take after the order to stop.
const GRACE: Duration = Duration::from_millis(500);
/// Longest time in which the whole body of a request must be here.
const BODY_TIME: Duration = Duration::from_secs(30);
/// How long a peer may leave unread what is sent to it, or unanswered whether it is there.
const PEER_TIME: Duration = Duration::from_secs(60);
/// Wait after a connection that could not be accepted, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What stands around the bytes of a body, at most.
const ROUND_IT: u64 = 64 << 10;
/// Says which worker it is.
const WORKER_FIELD: HeaderName = HeaderName::from_static(WORKER);

/// A running worker.
pub(crate) struct WorkerApp {
    address: SocketAddr,
    pool: Arc<dyn Sandboxes>,
    /// Accepts connections until it is cancelled.
    stop: CancellationToken,
    connections: TaskTracker,
    /// Cancelled when its only run is over; never if it serves many.
    spent: CancellationToken,
    run: RunFolder,
}

/// What is done with each connection.
#[derive(Clone)]
struct Door {
    router: Router,
    stop: CancellationToken,
    connections: TaskTracker,
    room: Arc<Semaphore>,
    peers: Peers,
}

// === impl WorkerApp ===

impl WorkerApp {
    /// Brings everything up; on return runs are served.
    ///
    /// # Errors
    /// One line with the cure; nothing is left running.
    pub(crate) async fn start(
        config: WorkerConfig,
        door: StdListener,
        env: &Environment,
    ) -> anyhow::Result<Self> {
        let address = door.local_addr()?;
        let id = id(&config.id, address);
        let run = RunFolder::apart(&id, env)?;
        let sandbox = sandbox(&id, run.path())?;
        // What a killed worker of this name and address left.
        sandbox.sweep(&Default::default())?;
        let pool = sandboxes::local(&config.sandbox, &sandbox, run.path(), env)?;
        let spent = CancellationToken::new();
        let router = router(&config, Arc::clone(&pool), &spent);
        door.set_nonblocking(true)?;
        let runs = config.sandbox.pool.size + config.sandbox.pool.queue;
        let door_of_runs = Door {
            router,
            stop: CancellationToken::new(),
            connections: TaskTracker::new(),
            // Twice, so that one peer never has them all.
            room: Arc::new(Semaphore::new(2 * runs + SPARE_CONNECTIONS)),
            peers: Peers::new(runs + SPARE_OF_PEER),
        };
        let (stop, connections) = (door_of_runs.stop.clone(), door_of_runs.connections.clone());
        connections.spawn(door_of_runs.accept(TcpListener::from_std(door)?));
        Ok(Self {
            address,
            pool,
            stop,
            connections,
            spent,
            run,
        })
    }

    /// Where runs are accepted.
    pub(crate) fn url(&self) -> Address {
        self.address.into()
    }

    /// Completes when a worker for one run has had it.
    pub(crate) async fn spent(&self) {
        self.spent.cancelled().await;
    }

    /// Ends all runs and takes everything down, within a second.
    ///
    /// # Errors
    /// When something of it is left.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.connections.close();
        self.pool.close().await;
        // What the runs had to say last is on its way.
        let _ = timeout(GRACE, self.connections.wait()).await;
        // The folder last: by it the next one finds what is left, should this one be killed here.
        drop(self.pool);
        let left = format!("cannot remove {}", self.run.path().display());
        self.run.remove().context(left)
    }
}

// === impl Door ===

impl Door {
    /// Until it is to stop; from then on nobody can connect.
    async fn accept(self, door: TcpListener) {
        loop {
            let next = async {
                // Nobody closes the semaphore, so that it always gives one.
                let place = Arc::clone(&self.room).acquire_owned().await.ok();
                (door.accept().await, place)
            };
            let (accepted, place) = tokio::select! {
                next = next => next,
                () = self.stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(visit) = self.peers.enter(peer.ip()) else {
                        tracing::debug!("{} has too many connections", peer.ip());
                        continue;
                    };
                    let caller = CallerAddress {
                        ip: peer.ip().to_canonical(),
                        encrypted: false,
                    };
                    let router = self.router.clone().layer(Extension(caller));
                    let stop = self.stop.clone().cancelled_owned();
                    be_patient(&stream);
                    self.connections.spawn(async move {
                        connection::serve(stream, router, stop).await;
                        drop((visit, place));
                    });
                }
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// A peer that is gone, or does not read, keeps a connection for a while and no longer. Where the
/// kernel cannot do that, it is kept.
fn be_patient(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let _ = socket.set_tcp_user_timeout(Some(PEER_TIME));
    let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(PEER_TIME));
}

/// Tells this worker from all others on the machine, and is the same after a crash.
fn id(worker: &WorkerId, address: SocketAddr) -> String {
    let hash = Sha256::digest(format!("worker {worker} {address}"));
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    hex[..ID_DIGITS].to_owned()
}

/// What a request goes through, the last one first.
fn router(config: &WorkerConfig, pool: Arc<dyn Sandboxes>, spent: &CancellationToken) -> Router {
    let body = room_for_base64(config.sandbox.limits.body);
    let runs = RunsConfig {
        coord: None,
        login: false,
        body,
        limits: config.sandbox.limits.run,
        cors: None,
    };
    let mut router = Runs::new(Some(pool), runs).router();
    if config.once {
        // After the admission: whoever is not let in does not use it up.
        let once = Once::new(spent.clone());
        router = router.layer(from_fn(move |request, next| {
            once::pass(once.clone(), request, next)
        }));
    }
    if let Some(key) = &config.public_key {
        let gate = Gate::new(key.clone(), config.id.clone(), SystemTime::now());
        // Such a one is started for a run that is signed meanwhile.
        let gate = if config.once { gate.early() } else { gate };
        let admission = Admission::new(gate, body);
        router = router.layer(from_fn(move |request, next| {
            admission::pass(admission.clone(), request, next)
        }));
    }
    let name = HeaderValue::from_str(config.id.as_str()).ok();
    router.layer(from_fn(move |request, next| {
        signed(name.clone(), request, next)
    }))
}

/// As a server passes on a body of so many bytes: what is in it is base64.
fn room_for_base64(body: u64) -> u64 {
    body / 3 * 4 + ROUND_IT
}

/// A body that breaks off when it has not come in time.
fn in_time(body: Body) -> Body {
    let deadline = Instant::now() + BODY_TIME;
    let state = Some(body.into_data_stream());
    Body::from_stream(stream::unfold(state, move |parts| async move {
        let mut parts = parts?;
        match timeout_at(deadline, parts.next()).await {
            Ok(part) => Some((part?, Some(parts))),
            Err(_) => Some((Err(axum::Error::new("it came too slowly")), None)),
        }
    }))
}

/// Every answer says whose it is, whatever the sandbox is called.
async fn signed(name: Option<HeaderValue>, request: Request, next: Next) -> Response {
    let mut response = next.run(request.map(in_time)).await;
    if let Some(name) = name {
        response.headers_mut().insert(WORKER_FIELD, name);
    }
    response
}
