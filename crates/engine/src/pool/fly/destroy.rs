//! Destroying what is to be destroyed, one machine after the other, until it is gone.

use std::sync::Arc;

use tokio::time::sleep;

use super::{
    Shared,
    error::ApiError,
    roster::{Machine, Phase},
};

/// Destroys doomed machines until the pool ends.
pub(super) async fn keep_destroying(shared: Arc<Shared>) {
    let work = async {
        let pace = &shared.config.pace;
        let mut pause = pace.destroy;
        loop {
            if shared.destroy_doomed().await == 0 {
                pause = pace.destroy;
                shared.doomed.notified().await;
            } else {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shared.doomed.notified() => {}
                }
                pause = pause.saturating_mul(2).min(pace.clean);
            }
        }
    };
    tokio::select! {
        () = work => {}
        () = shared.ended.cancelled() => {}
    }
}

impl Shared {
    /// Tries each doomed machine once, and tells how many are left.
    pub(super) async fn destroy_doomed(&self) -> usize {
        let _turn = self.destroying.lock().await;
        let doomed = self.roster.all(Phase::Doomed);
        for (index, machine) in doomed.iter().enumerate() {
            if index > 0 {
                sleep(self.config.pace.spacing).await;
            }
            match self.destroy(machine).await {
                Ok(()) => self.roster.forget(&machine.id).await,
                Err(error) => tracing::warn!("{error}: it is tried again"),
            }
        }
        self.roster.count(Phase::Doomed)
    }

    async fn destroy(&self, machine: &Machine) -> Result<(), ApiError> {
        let nonce = machine.nonce.as_deref();
        match self.api.destroy(&machine.id, nonce).await {
            // Our lease is over. Somebody else's is respected: it ends too.
            Err(error) if error.is_conflict() && nonce.is_some() => {
                self.api.destroy(&machine.id, None).await
            }
            done => done,
        }
    }
}
