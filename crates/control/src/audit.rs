//! How long it is known who changed what.

use std::{sync::Arc, time::Duration};

use hob_store::clock::unix_now;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::Control;

/// How long a change is known. The store keeps no more than
/// [`AUDIT_MOST`](hob_store::AUDIT_MOST) of them besides, and
/// [`AUDIT_REFUSED_MOST`](hob_store::AUDIT_REFUSED_MOST) of those that were not made.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// Wait between looks at what is older.
const PAUSE: Duration = Duration::from_secs(3600);

impl Control {
    /// Forgets changes that are long past, until `stop`.
    pub(crate) async fn forget_changes(self: Arc<Self>, stop: CancellationToken) {
        // So long ago fits: it is a part of the time since 1970.
        let kept = i64::try_from(KEPT.as_millis()).unwrap_or(i64::MAX);
        loop {
            let before = unix_now() - kept;
            match self.stored(move |store| store.forget_changes(before)).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "changes of long ago left the audit"),
                Err(error) => tracing::warn!("the audit was not shortened: {error}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(PAUSE) => {}
            }
        }
    }
}
