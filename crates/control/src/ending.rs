use std::sync::Arc;

use http::StatusCode;
use tokio::sync::watch;

/// How the work behind an answer ended, for whoever writes that down. It is in the extensions of
/// an answer whose own status was settled before. A cheap handle: clones tell of the same work.
#[derive(Debug, Clone)]
pub(crate) struct Ending(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: watch::Sender<Option<StatusCode>>,
    /// How many keep the end from being shown.
    holders: watch::Sender<usize>,
}

/// While it is there, nobody is shown the end.
#[derive(Debug)]
pub(crate) struct Held(Ending);

impl Default for Ending {
    fn default() -> Self {
        Self(Arc::new(Inner {
            status: watch::Sender::new(None),
            holders: watch::Sender::new(0),
        }))
    }
}

impl Ending {
    /// Of work that ended like this already.
    pub(crate) fn told(status: StatusCode) -> Self {
        let ending = Self::default();
        ending.tell(status);
        ending
    }

    /// Says how the work ended. The first word is the last.
    pub(crate) fn tell(&self, status: StatusCode) {
        self.0.status.send_if_modified(|told| {
            let is_first = told.is_none();
            told.get_or_insert(status);
            is_first
        });
    }

    /// How it ended, as soon as it has.
    pub(crate) async fn status(&self) -> StatusCode {
        let mut told = self.0.status.subscribe();
        // The sender lives as long as this handle.
        let told = told.wait_for(Option::is_some).await;
        told.ok()
            .and_then(|told| *told)
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Keeps the end from being shown until what is returned is dropped.
    pub(crate) fn hold(&self) -> Held {
        self.0.holders.send_modify(|holders| *holders += 1);
        Held(self.clone())
    }

    /// Waits until the end may be shown.
    pub(crate) async fn free(&self) {
        let mut holders = self.0.holders.subscribe();
        let _ = holders.wait_for(|holders| *holders == 0).await;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.holders.send_modify(|holders| *holders -= 1);
    }
}
