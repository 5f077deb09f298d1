//! A revision that answers a share of a function's calls, and what becomes of it.

use std::{sync::Arc, time::SystemTime};

use hob_model::{Canary, Function, FunctionName, Run, Share, wire::DeployEvent};

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
        let here = former.canary.as_deref();
        let same = here.filter(|here| here.revision.runs_like(&candidate.revision));
        let canary = Canary {
            share,
            replicas: share.of(former.replicas),
            // What runs goes on.
            revision: same
                .map_or(&candidate.revision, |same| &same.revision)
                .clone(),
            number: same.map_or(0, |same| same.number),
        };
        let next = Function {
            canary: Some(Box::new(canary.clone())),
            updated_at: SystemTime::now(),
            ..Function::clone(&former)
        };
        if same.is_none() {
            self.let_go(&former);
        }
        let replicas = 0;
        self.engine
            .apply(&Function {
                replicas,
                ..next.clone()
            })
            .await?;
        self.found(name);
        self.wakes.forgive(name);
        if here == Some(&canary) {
            return Ok((former, false));
        }
        let (keep, is_new) = (self.config.keep_revisions, same.is_none());
        let stored = self.stored(move |store| match is_new {
            true => store.add_canary(next, canary, keep),
            false => store.put_function(&next).map(|()| next),
        });
        match stored.await {
            Ok(next) => {
                let next = Arc::new(next);
                self.deployed.put(Arc::clone(&next));
                Ok((next, true))
            }
            Err(error) => {
                let former = Function::clone(&former);
                self.undo(&Function { replicas, ..former }).await;
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
            let former = Function::clone(&former);
            self.undo(&Function {
                replicas: 0,
                ..former
            })
            .await;
            return Err(error.into());
        }
        let next = Arc::new(next);
        self.deployed.put(Arc::clone(&next));
        self.bundles.look();
        tell_of_ended_canary(Some(&former), &next, events);
        Ok((next, true))
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
        events.push(DeployEvent::Step { text });
    }
}
