//! Back to a revision that ran before, without a build.

use std::sync::Arc;

use hob_model::{
    Function, FunctionName,
    wire::{RevisionState, RevisionSummary},
};
use hob_store::{KeptRevision, StoreError};

use crate::{
    Control,
    deploy::{Candidate, DeployError},
    events::Events,
    images::image_of,
    schedule,
};

// === impl Control ===

impl Control {
    /// Makes a kept revision answer calls again, by its number; else ends the canary, and where there
    /// is none, goes to the revision before the current.
    /// Like a deploy in all that follows the build, it goes on when nobody reads the events.
    pub(crate) async fn roll_back(
        self: Arc<Self>,
        name: FunctionName,
        wanted: Option<u32>,
        events: Events,
    ) {
        let (control, function, log) = (Arc::clone(&self), name.clone(), events.clone());
        let work = async move { control.try_roll_back(function, wanted, &log).await };
        self.tell(name, work, events).await;
    }

    async fn try_roll_back(
        &self,
        name: FunctionName,
        wanted: Option<u32>,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let _turn = self.deploy_turn(&name, events).await;
        // What the revision needs stays, even if it is the oldest and the next deploy ends it.
        let hold = self.hold().await;
        let Some(function) = self.deployed.get(&name) else {
            return Err(DeployError::Missing(name));
        };
        if wanted.is_none() && function.canary.is_some() {
            return self.end_canary(&name, events).await;
        }
        let mut kept = self.kept_revisions(&name).await?.into_iter();
        let found = match wanted {
            Some(number) => kept.find(|one| one.number == number),
            // The newest comes first.
            None => kept.find(|one| one.number < function.number),
        };
        let found = found.ok_or_else(|| match wanted {
            Some(number) => DeployError::NoRevision {
                function: name.clone(),
                number,
            },
            None => DeployError::NoEarlier(name.clone()),
        })?;
        let revision = &found.revision;
        schedule::check(&revision.run, &revision.settings.schedule)?;
        self.mend_layers(&name, revision).await;
        let change = self.changes.take(&name).await;
        if self.deployed.get(&name).is_none() {
            // A moment ago, and its revisions with it.
            return Err(DeployError::Removed(name));
        }
        let candidate = Candidate {
            revision: found.revision,
            number: Some(found.number),
            share: None,
            hold,
        };
        self.roll_out(change, &name, candidate, events).await
    }

    /// The revisions that are kept of a function, newest first.
    pub(crate) async fn revisions(
        &self,
        function: &Function,
    ) -> Result<Vec<RevisionSummary>, StoreError> {
        let kept = self.kept_revisions(&function.name).await?;
        let canary = function.canary.as_deref();
        let share = |number| {
            let canary = canary.filter(|canary| canary.number == number);
            canary.map(|canary| canary.share)
        };
        let summaries = kept.into_iter().map(|one| RevisionSummary {
            number: one.number,
            state: match share(one.number) {
                _ if one.number == function.number => RevisionState::Current,
                Some(_) => RevisionState::Canary,
                None => RevisionState::Kept,
            },
            canary: share(one.number),
            image: image_of(&one.revision.run),
            digest: one.revision.digest,
            language: one.revision.language,
            built_at: one.revision.built_at,
            deployed_at: one.deployed_at,
        });
        Ok(summaries.collect())
    }

    async fn kept_revisions(&self, name: &FunctionName) -> Result<Vec<KeptRevision>, StoreError> {
        let name = name.clone();
        self.stored(move |store| store.revisions(&name)).await
    }
}
