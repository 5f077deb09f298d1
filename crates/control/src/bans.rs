use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use hob_model::{AddressRange, Ban, BanError};
use hob_store::{Store, StoreError};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::Control;

/// How often bans that have come by themselves are written down, and those that have ended are
/// forgotten.
const KEEP: Duration = Duration::from_secs(5);

/// Why somebody is not banned.
#[derive(Debug, Error)]
pub(crate) enum AddBanError {
    /// He cannot be.
    #[error(transparent)]
    Ban(#[from] BanError),
    /// It would not last.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Control {
    /// Brings back who was shut out. Whom the configuration exempts by now is let in.
    pub(crate) async fn restore_bans(&self) -> Result<(), StoreError> {
        let now = SystemTime::now();
        for ban in self.stored(Store::bans).await? {
            let over = ban.until.is_some_and(|until| until <= now);
            if !over && let Err(error) = self.bans.add(ban) {
                tracing::warn!("a ban of before is not kept: {error}");
            }
        }
        // They are written down already.
        self.bans.sweep();
        Ok(())
    }

    /// Shuts somebody out, also after a restart.
    pub(crate) async fn add_ban(&self, ban: Ban) -> Result<(), AddBanError> {
        self.bans.add(ban.clone())?;
        let kept = self.stored(move |store| store.put_bans(&[ban], SystemTime::now()));
        Ok(kept.await?)
    }

    /// Lets somebody in again; `false` when nobody of that address is shut out.
    pub(crate) async fn remove_ban(&self, address: AddressRange) -> Result<bool, StoreError> {
        let removed = self.bans.remove(&address);
        self.stored(move |store| store.remove_ban(&address)).await?;
        Ok(removed)
    }

    /// Keeps what comes by itself, until `stop` and once more then.
    pub(crate) async fn keep_bans(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let stopping = tokio::select! {
                () = stop.cancelled() => true,
                () = tokio::time::sleep(KEEP) => false,
            };
            let new = self.bans.sweep();
            if !new.is_empty() {
                let kept = self.stored(move |store| store.put_bans(&new, SystemTime::now()));
                if let Err(error) = kept.await {
                    tracing::warn!("bans will not outlive this process: {error}");
                }
            }
            if stopping {
                return;
            }
        }
    }
}
