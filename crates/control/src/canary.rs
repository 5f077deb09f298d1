//! A revision that answers a share of a function's calls, and what becomes of it.

use std::{sync::Arc, time::SystemTime};

use hob_model::{
    Canary, Function, FunctionName, Run, Share,
    wire::{DeployEvent, DeployStage},
};

use crate::{
    Control,
    deploy::{Candidate, DeployError},
    events::Events,
};

// === impl Control ===

impl Control {
    /// Has `candidate` answer a share of the calls, in place of the canary that there was. The
    /// replicas of the revision that answers the others go on as they are, or sleep on.
    pub(crate) async fn run_canary(
        &self,
        former: Arc<Function>,
        candidate: Candidate,
        share: Share,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let name = &former.name;
        let is_files = |run: &Run| matches!(run, Run::Static { .. });
        if is_files(&former.revision.run) || is_files(&candidate.revision.run) {
            return Err(DeployError::FilesBeside(name.clone()));
        }
        if candidate.runs_like(&former) {
            return Err(DeployError::NoDifference(name.clone()));
        }
        let next = with_canary(&former, &candidate, share);
        let (here, canary) = (&former.canary, &next.canary);
        let is_new = canary.as_ref().is_none_or(|canary| canary.number == 0);
        if is_new {
            self.let_go(&former);
        }
        self.engine.apply(&beside(&next)).await?;
        self.found(name);
        self.wakes.forgive(name);
        if here == canary {
            return Ok((former, false));
        }
        let keep = self.config.keep_revisions;
        let stored = self.stored(
            move |store| match (is_new, next.canary.as_deref().cloned()) {
                (true, Some(canary)) => store.add_canary(next, canary, keep),
                _ => store.put_function(&next).map(|()| next),
            },
        );
        match stored.await {
            Ok(next) => {
                let next = Arc::new(next);
                self.deployed.put(Arc::clone(&next));
                Ok((next, true))
            }
            Err(error) => {
                self.undo(&beside(&former)).await;
                Err(error.into())
            }
        }
    }

    /// Makes the canary answer all calls. Like a deploy in all that follows the build, it goes on
    /// when nobody reads the events.
    pub(crate) async fn promote(self: Arc<Self>, name: FunctionName, events: Events) {
        let (control, function, log) = (Arc::clone(&self), name.clone(), events.clone());
        let work = async move { control.try_promote(function, &log).await };
        self.tell(name, work, events).await;
    }

    async fn try_promote(
        &self,
        name: FunctionName,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let _turn = self.deploy_turn(&name, events).await;
        let hold = self.hold().await;
        let change = self.changes.take(&name).await;
        let Some(function) = self.deployed.get(&name) else {
            return Err(DeployError::Missing(name));
        };
        let Some(canary) = function.canary.as_deref() else {
            return Err(DeployError::NoCanary(name));
        };
        let candidate = Candidate {
            revision: canary.revision.clone(),
            number: Some(canary.number),
            share: None,
            hold,
        };
        self.roll_out(change, &name, candidate, events).await
    }

    /// Gives all calls back to the revision that answers the others; it has never stopped. The
    /// caller has the function's turn of deploys.
    pub(crate) async fn end_canary(
        &self,
        name: &FunctionName,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let _change = self.changes.take(name).await;
        let Some(former) = self.deployed.get(name) else {
            return Err(DeployError::Removed(name.clone()));
        };
        self.let_go(&former);
        let next = Function {
            canary: None,
            ..Function::clone(&former)
        };
        self.engine.apply(&next.asleep()).await?;
        let written = next.clone();
        let stored = self.stored(move |store| store.put_function(&written));
        if let Err(error) = stored.await {
            self.undo(&beside(&former)).await;
            return Err(error.into());
        }
        let next = Arc::new(next);
        self.deployed.put(Arc::clone(&next));
        self.bundles.look();
        tell_of_ended_canary(Some(&former), &next, events);
        Ok((next, true))
    }
}

/// The function as it stands with `candidate` as its canary, which has number 0 until it is kept.
fn with_canary(former: &Function, candidate: &Candidate, share: Share) -> Function {
    let here = former.canary.as_deref();
    let same = here.filter(|here| here.revision.digest == candidate.revision.digest);
    // What runs goes on.
    let revision = same.map_or(&candidate.revision, |same| &same.revision);
    let canary = Canary {
        revision: revision.clone(),
        number: same.map_or(0, |same| same.number),
        share,
        replicas: share.of(former.replicas),
    };
    Function {
        canary: Some(Box::new(canary)),
        updated_at: SystemTime::now(),
        ..former.clone()
    }
}

/// The function with its canary started; the other replicas go on as they are, or sleep on.
fn beside(function: &Function) -> Function {
    Function {
        replicas: 0,
        ..function.clone()
    }
}

/// Says that a canary has ended, if one has that now answers nothing.
pub(crate) fn tell_of_ended_canary(former: Option<&Function>, now: &Function, events: &Events) {
    let Some(canary) = former.and_then(|former| former.canary.as_ref()) else {
        return;
    };
    let here = now.canary.as_ref().map(|canary| canary.number);
    if now.number != canary.number && here != Some(canary.number) {
        let text = format!("the canary, revision {}, has ended", canary.number);
        let stage = DeployStage::Draining;
        events.push(DeployEvent::Step { stage, text });
    }
}
