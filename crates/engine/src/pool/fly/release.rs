//! What becomes of a machine after its run.

use super::{
    OnClose, Reuse, Shared,
    api::Until,
    error::ApiError,
    hire::Fate,
    machine::MachineState,
    roster::{Machine, Phase},
};

impl Shared {
    /// Stops a machine and has it free for the next run. One that cannot be used again, or does
    /// not stop, is destroyed.
    pub(super) async fn release(&self, machine: Machine, fate: Fate) {
        if fate == Fate::Return && self.keeps(&machine) {
            match self.put_down(&machine).await {
                Ok(()) if self.roster.turn(&machine.id, Phase::Busy, Phase::Free) => return,
                Ok(()) => {}
                Err(error) => tracing::warn!("{error}: the machine is destroyed"),
            }
        }
        self.condemn(&machine).await;
    }

    /// Whether machines like this one are used again.
    pub(super) fn keeps(&self, machine: &Machine) -> bool {
        let goes_on = !self.closing.is_cancelled() || self.config.on_close == OnClose::Stop;
        goes_on
            && self.config.reuse == Reuse::Stopped
            && machine.make == self.recipe.make()
            && machine.region == self.config.region
    }

    /// Has a machine destroyed, now or later.
    pub(super) async fn condemn(&self, machine: &Machine) {
        // Both before anything can end this future.
        self.roster.doom(&machine.id);
        self.doomed.notify_one();
        self.roster.save().await;
    }

    async fn put_down(&self, machine: &Machine) -> Result<(), ApiError> {
        let Machine { id, instance, .. } = machine;
        let nonce = machine.nonce.as_deref().unwrap_or_default();
        if let Err(error) = self.api.stop(id, nonce).await {
            // One whose worker has ended may have stopped by itself.
            return match self.api.get(id).await {
                Ok(seen)
                    if seen.state == MachineState::Stopped && seen.instance_id == *instance =>
                {
                    Ok(())
                }
                _ => Err(error),
            };
        }
        self.api.wait(id, instance, Until::Stopped).await
    }
}
