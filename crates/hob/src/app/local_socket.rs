use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use axum::{Extension, Router};
use hob_control::LocalUser;
use http::{StatusCode, header};
use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::connection;

const NAME: &str = "hob.sock";
/// Only its owner may connect; root may always.
const MODE: u32 = 0o600;
/// Wait after a connection that could not be accepted, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The control API on this machine: no password, but the kernel says who is there.
#[derive(Debug)]
pub(crate) struct LocalSocket {
    path: PathBuf,
    stop: CancellationToken,
    connections: TaskTracker,
}

impl LocalSocket {
    /// Listens in the folder `run`, which is ours alone.
    pub(crate) fn serve(run: &Path, router: Router) -> anyhow::Result<Self> {
        let path = run.join(NAME);
        // Of a server that was killed: the lock on the data directory is ours.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(MODE))?;
        let stop = CancellationToken::new();
        let connections = TaskTracker::new();
        let accepting = accept(listener, router, stop.clone(), connections.clone());
        connections.spawn(accepting);
        Ok(Self {
            path,
            stop,
            connections,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Accepts nothing more and waits at most `grace` for the requests under way.
    pub(crate) async fn stop(self, grace: Duration) {
        self.stop.cancel();
        self.connections.close();
        // Those that follow a log never end by themselves.
        let _ = timeout(grace, self.connections.wait()).await;
    }
}

async fn accept(
    listener: UnixListener,
    router: Router,
    stop: CancellationToken,
    connections: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let router = match trusted(&stream) {
                    Some(user) => router.clone().layer(Extension(user)),
                    None => stranger(),
                };
                let stop = stop.clone().cancelled_owned();
                connections.spawn(connection::serve(stream, router, stop));
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection on {NAME}: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Root, or the user whose server this is.
fn trusted(stream: &UnixStream) -> Option<LocalUser> {
    let own = rustix::process::geteuid().as_raw();
    let peer: io::Result<_> = stream.peer_cred();
    let user = peer.ok()?.uid();
    (user == 0 || user == own).then_some(LocalUser(user))
}

/// Answers everything with the one line that says whose socket this is.
fn stranger() -> Router {
    Router::new().fallback(|| async {
        (
            StatusCode::FORBIDDEN,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            "this socket is for root and for the user who started hob: use `sudo hob`, or log in with `hob login URL`\n",
        )
    })
}
