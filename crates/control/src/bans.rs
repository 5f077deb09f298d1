use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use hob_model::{AddressRange, Ban, BanError, Bans};
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
    /// Brings back who was shut out. Whom the configuration exempts by now is let in for good.
    pub(crate) async fn restore_bans(&self) -> Result<(), StoreError> {
        for ban in self.stored(Store::bans).await? {
            let address = ban.address;
            if let Err(error) = self.bans.restore(ban) {
                tracing::warn!("a ban of before is not kept: {error}");
                self.stored(move |store| store.remove_ban(&address)).await?;
            }
        }
        // They are written down already.
        self.bans.sweep();
        Ok(())
    }

    /// Shuts somebody out, also after a restart.
    pub(crate) async fn add_ban(&self, ban: Ban) -> Result<(), AddBanError> {
        let _change = self.ban_changes.lock().await;
        self.bans.add(ban.clone())?;
        Ok(self.put_bans(vec![ban]).await?)
    }

    /// Lets somebody in again; `false` when nobody of that address is shut out.
    pub(crate) async fn remove_ban(&self, address: AddressRange) -> Result<bool, StoreError> {
        // Else it might be written down once more after it was removed.
        let _change = self.ban_changes.lock().await;
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
            let change = self.ban_changes.lock().await;
            let new = self.bans.sweep();
            if !new.is_empty()
                && let Err(error) = self.put_bans(new).await
            {
                tracing::warn!("bans will not outlive this process: {error}");
            }
            drop(change);
            if stopping {
                return;
            }
        }
    }

    async fn put_bans(&self, bans: Vec<Ban>) -> Result<(), StoreError> {
        let before = SystemTime::now() - Bans::MEMORY;
        self.stored(move |store| store.put_bans(&bans, before))
            .await
    }
}
