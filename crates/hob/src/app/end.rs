//! How a server ends: for good, for the next one, or before it serves.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use hob_engine::LocalEngine;
use tokio::task::spawn_blocking;

use super::{App, RunFolder};

/// How long calls under way may go on after the order to stop.
const CALLS_GRACE: Duration = Duration::from_secs(5);
/// The same for requests on the local socket, of which those that follow a log never end.
const REQUESTS_GRACE: Duration = Duration::from_secs(1);

/// The replicas of an earlier server while this one does not serve yet: where it never does, they
/// are left to the next.
pub(super) struct Unserved(pub(super) Option<Arc<LocalEngine>>);

// === impl App ===

impl App {
    /// Takes everything down, in the order that lets calls under way end well.
    ///
    /// # Errors
    /// When something of it is left.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let (engine, run) = self.close().await?;
        engine.shutdown().await;
        let left = format!("cannot remove {}", run.path().display());
        run.remove().context(left)
    }

    /// The same, but leaves the replicas running to the next server of this data directory.
    ///
    /// # Errors
    /// When the work in the background did not end well.
    pub(crate) async fn hand_over(self) -> anyhow::Result<()> {
        let (engine, _run) = self.close().await?;
        spawn_blocking(move || engine.let_go()).await?;
        Ok(())
    }

    /// Closes all doors; nobody calls the replicas any more.
    async fn close(self) -> anyhow::Result<(Arc<LocalEngine>, RunFolder)> {
        let metrics = async {
            if let Some(metrics) = self.metrics {
                metrics.stop().await;
            }
        };
        // The queue begins nothing more, and what it has begun ends with the other calls.
        self.stop.cancel();
        let gateway = self.gateway.shutdown(CALLS_GRACE);
        let socket = self.socket.stop(REQUESTS_GRACE);
        let (_, _, _, background) = tokio::join!(gateway, socket, metrics, self.background);
        background?;
        // What they run has had its grace with the other calls.
        if let Some(sandboxes) = self.sandboxes {
            sandboxes.close().await;
        }
        Ok((self.engine, self.run))
    }
}

// === impl Unserved ===

impl Unserved {
    pub(super) fn are_served(mut self) {
        self.0 = None;
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(engine) = &self.0 {
            engine.let_go();
        }
    }
}
