//! Which bundles are still needed, and the end of the others.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_image::InUse;
use hob_model::{
    Revision, Run,
    port::{BuildError, EngineError},
};
use hob_store::{Store, StoreError};
use thiserror::Error;
use tokio::{
    sync::{Notify, OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use crate::Control;

/// How often it is looked whether there is something to collect, however quiet it is.
const COLLECT: Duration = Duration::from_secs(3600);
/// How soon it is looked again where somebody was still at work.
const RETRY: Duration = Duration::from_secs(5);

/// The bundles of this machine.
#[derive(Default)]
pub(crate) struct Bundles {
    /// Held for reading while bundles are in use that the store may not know of; for writing by the
    /// collection.
    uses: Arc<RwLock<()>>,
    /// Revisions that were replaced or removed, by their digest: a replica that is on its way out
    /// still needs its bundle.
    seen: Mutex<HashMap<String, Seen>>,
    /// Something may be needed no more.
    due: Notify,
}

/// What a revision that has left needs.
struct Seen {
    bundle: String,
    /// Until then, however few replicas there are.
    until: Instant,
}

/// While this lives, no image is pruned and no bundle collected.
#[must_use]
pub(crate) struct Hold {
    _images: InUse,
    _bundles: OwnedRwLockReadGuard<()>,
}

/// Why nothing was collected.
#[derive(Debug, Error)]
enum CollectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Build(#[from] BuildError),
}

// === impl Bundles ===

impl Bundles {
    /// Keeps every bundle from being collected.
    pub(crate) async fn hold(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.uses).read_owned().await
    }

    /// Keeps what a revision needs until none of its replicas is left, and after that has the
    /// bundle collected, if nobody needs it.
    pub(crate) fn let_go(&self, revision: &Revision) {
        if revision.bundle.is_empty() {
            return;
        }
        let grace = match revision.run {
            // Nobody knows which calls are being answered with its files.
            Run::Static { .. } => revision.settings.timeout.0,
            Run::Process { .. } | Run::Image(_) => Duration::ZERO,
        };
        let seen = Seen {
            bundle: revision.bundle.clone(),
            until: Instant::now() + grace,
        };
        self.seen().insert(revision.digest.clone(), seen);
    }

    /// Has the collection look for what is needed no more.
    pub(crate) fn look(&self) {
        self.due.notify_one();
    }

    /// If nobody holds them, keeps everybody from that.
    fn alone(&self) -> Option<OwnedRwLockWriteGuard<()>> {
        Arc::clone(&self.uses).try_write_owned().ok()
    }

    /// The bundles of revisions that have left, but for those of which nothing runs any more.
    fn still_used(&self, running: &BTreeSet<String>) -> BTreeSet<String> {
        let now = Instant::now();
        let mut seen = self.seen();
        seen.retain(|revision, one| running.contains(revision) || one.until > now);
        seen.values().map(|one| one.bundle.clone()).collect()
    }

    fn seen(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Control ===

impl Control {
    /// Keeps everything here that a deploy may be about to use.
    pub(crate) async fn hold(&self) -> Hold {
        Hold {
            _images: self.images.store.hold().await,
            _bundles: self.bundles.hold().await,
        }
    }

    /// Collects bundles now, when something may be needed no more, and now and then.
    pub(crate) async fn collect_bundles(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let pause = match self.collect().await {
                Ok(true) => COLLECT,
                Ok(false) => RETRY,
                Err(error) => {
                    tracing::warn!("bundles were not collected: {error}");
                    COLLECT
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.bundles.due.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// False when there may be more as soon as somebody is done.
    async fn collect(&self) -> Result<bool, CollectError> {
        let Some(_alone) = self.bundles.alone() else {
            return Ok(false);
        };
        let observed = self.engine.observe().await?;
        let instances = observed.into_iter().flat_map(|one| one.instances);
        let running = instances.map(|instance| instance.revision).collect();
        let used = self.bundles.still_used(&running);
        let mut kept = self.stored(Store::needed_bundles).await?;
        let settled = used.is_subset(&kept);
        kept.extend(used);
        let count = self.builder.collect(kept).await?;
        if count > 0 {
            tracing::info!(count, "bundles that nothing refers to were removed");
        }
        Ok(settled)
    }
}
