use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::connection;
use crate::client::Address;

/// Connections at once; the next one waits in the listener's queue. Few, since each may hold an
/// answer of megabytes.
const CONNECTIONS: usize = 8;
/// How long a connection may be used. Nothing but time keeps those who never read from taking
/// every place.
const LIFE: Duration = Duration::from_secs(60);
/// How long its last answer may take after that, and after the order to stop.
const GRACE: Duration = Duration::from_secs(1);
/// Wait after a connection that could not be accepted, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The door for Prometheus: it asks for no password, and shows nothing but names and numbers.
pub(crate) struct MetricsServer {
    address: SocketAddr,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl MetricsServer {
    /// Answers at `door` from now on.
    pub(super) fn serve(door: std::net::TcpListener, router: Router) -> io::Result<Self> {
        door.set_nonblocking(true)?;
        let address = door.local_addr()?;
        let door = TcpListener::from_std(door)?;
        let (stop, connections) = (CancellationToken::new(), TaskTracker::new());
        connections.spawn(accept(door, router, stop.clone(), connections.clone()));
        Ok(Self {
            address,
            stop,
            connections,
        })
    }

    pub(super) fn url(&self) -> String {
        url(self.address)
    }

    /// Accepts nothing more and waits for the answers under way, each of which has [`GRACE`].
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

/// What Prometheus reads at an address: `http://127.0.0.1:8082/metrics`.
pub(super) fn url(address: SocketAddr) -> String {
    format!("{}/metrics", Address::from(address))
}

async fn accept(
    door: TcpListener,
    router: Router,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let next = async {
            // Nobody closes the semaphore, so that it always gives one.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (door.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, over) = (router.clone(), stop.child_token());
                connections.spawn(async move {
                    serve(stream, router, over).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection for metrics: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, router: Router, over: CancellationToken) {
    let served = connection::serve(stream, router, over.clone().cancelled_owned());
    let late = async {
        // Whichever comes first.
        let _ = timeout(LIFE, over.cancelled()).await;
        over.cancel();
        sleep(GRACE).await;
    };
    tokio::select! {
        () = served => {}
        () = late => {}
    }
}
