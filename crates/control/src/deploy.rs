mod error;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use hob_model::{
    DEFAULT_NAMESPACE, FleetName, Function, FunctionName, Revision, Share,
    port::EngineError,
    wire::{DeployEvent, DeployStage, Fault},
};
use hob_store::StoreError;

use crate::{
    Control, bundles::Hold, canary::tell_of_ended_canary, events::Events, namespaces::is_reserved,
    origin::Origin, schedule, turns::Turn,
};

pub(crate) use error::DeployError;

// === impl Control ===

impl Control {
    /// Brings a function to life: build or pull → start and swap (engine) → store → done.
    ///
    /// Goes on to its end even when nobody reads the events: a connection that breaks after the
    /// upload loses nothing, and the same deploy again finds itself unchanged.
    pub(crate) async fn deploy(self: Arc<Self>, name: FunctionName, order: Order, events: Events) {
        let (control, function, log) = (Arc::clone(&self), name.clone(), events.clone());
        let work = async move { control.try_deploy(function, order, &log).await };
        self.tell(name, work, events).await;
    }

    /// Does the `work` of a deploy, whose last event says how it went.
    pub(crate) async fn tell(
        self: Arc<Self>,
        name: FunctionName,
        work: impl Future<Output = Result<(Arc<Function>, bool), DeployError>> + Send + 'static,
        events: Events,
    ) {
        let began = Instant::now();
        // A task of its own, so that even a panic ends the answer with a proper last line.
        let work = tokio::spawn(async move {
            let (function, changed) = work.await?;
            let observed = self.observed().await.unwrap_or_default();
            let summary = self.summary(&function, observed.get(&function.name));
            Ok::<_, DeployError>((Box::new(summary), changed))
        });
        events.finish(match work.await {
            Ok(Ok((function, changed))) => DeployEvent::Done {
                function,
                changed,
                millis: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            },
            Ok(Err(error)) => DeployEvent::Failed {
                message: error.to_string(),
                fault: error.fault(),
            },
            Err(_) => DeployEvent::Failed {
                message: format!("deploying `{name}` hit a fault in hob: see the server's log"),
                fault: Fault::Host,
            },
        });
    }

    /// The deploy itself: the function as it is now, and whether it is another than before.
    pub(crate) async fn try_deploy(
        &self,
        name: FunctionName,
        order: Order,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        if is_reserved(name.namespace()) {
            return Err(DeployError::Reserved(name.namespace().to_owned()));
        }
        let _turn = self.deploy_turn(&name, events).await;
        let former = self.deployed.get(&name);
        order.check(&name, former.is_some())?;
        let had_namespace = self.has_namespace(&name).await?;
        // Nothing of it may be pruned or collected before the store knows that it is in use.
        let hold = self.hold().await;
        let revision = self.revision(&name, order.origin, events).await?;
        schedule::check(&revision.run, &revision.settings.schedule)?;
        // Else nobody could be let in.
        let asked = revision.settings.auth.secrets();
        let asked: Vec<_> = asked.into_iter().cloned().collect();
        self.check_secrets(&name, &asked).await?;

        let change = self.changes.take(&name).await;
        let is_gone = former.is_some() && self.deployed.get(&name).is_none();
        // What somebody took away meanwhile stays away.
        if is_gone || (had_namespace && !self.has_namespace(&name).await?) {
            return Err(DeployError::Removed(name));
        }
        let candidate = Candidate {
            revision,
            number: None,
            share: order.canary,
            hold,
        };
        self.roll_out(change, &name, candidate, events).await
    }

    /// Makes `candidate` what answers calls. The caller has the function's turn of deploys as well.
    pub(crate) async fn roll_out(
        &self,
        _change: Turn,
        name: &FunctionName,
        candidate: Candidate,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let _domains = self.claim(name, &candidate.revision.settings.domain)?;
        events.push(DeployEvent::Step {
            stage: DeployStage::Starting,
            text: format!("starting {name}"),
        });
        let former = self.deployed.get(name);
        let result = match (candidate.share, former.clone()) {
            (Some(share), Some(former)) => self.run_canary(former, candidate, share).await,
            (Some(_), None) => Err(DeployError::NothingBeside(name.clone())),
            (None, Some(former)) if candidate.runs_like(&former) => {
                self.revise(former, candidate).await
            }
            (None, former) => {
                let next = candidate.successor(name, former.as_deref());
                let replaced = self.replace(next, candidate.number, former).await;
                drop(candidate);
                replaced.map(|next| (next, true))
            }
        };
        if let Err(DeployError::Engine(EngineError::Start { log_tail, .. })) = &result {
            for text in log_tail.iter().cloned() {
                events.push(DeployEvent::Output { text });
            }
        }
        if let Ok((next, true)) = &result {
            self.bundles.look();
            tell_of_ended_canary(former.as_deref(), next, events);
        }
        result
    }

    /// The function with the number of replicas that it is to run with: at least one, even where
    /// the wish is to sleep until the next call, and as many as its calls need now.
    fn awake(&self, function: &Function) -> Function {
        let both = FleetName::both(&function.name);
        // All calls of a canary that ends come here. Each number was rounded up.
        let wanted = both.iter().filter_map(|one| self.scalers.wanted(one));
        let now = wanted
            .reduce(|one, other| one.saturating_add(other).saturating_sub(1))
            .unwrap_or(1);
        let scaling = function.revision.settings.scaling();
        Function {
            replicas: scaling.nearest(now, function.replicas),
            ..function.clone()
        }
    }

    async fn has_namespace(&self, name: &FunctionName) -> Result<bool, StoreError> {
        let namespace = name.namespace();
        Ok(namespace == DEFAULT_NAMESPACE || self.namespace(namespace).await?.is_some())
    }

    pub(crate) async fn deploy_turn(&self, name: &FunctionName, events: &Events) -> Turn {
        if let Some(turn) = self.deploys.try_take(name) {
            return turn;
        }
        events.push(DeployEvent::Step {
            stage: DeployStage::Waiting,
            text: format!("waiting for another deploy of {name}"),
        });
        self.deploys.take(name).await
    }

    /// Nothing that runs has changed, so what runs goes on; only the words for people and clients
    /// may be others. Such a function answers calls when its deploy is done, as any other does.
    async fn revise(
        &self,
        former: Arc<Function>,
        candidate: Candidate,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let candidate = candidate.in_place_of(&former);
        if former.canary.is_some() {
            self.let_go(&former);
        }
        let next = candidate.successor(&former.name, Some(&former));
        // Somebody may want none of it to run: then its next call wakes it, as before. What the
        // gateway keeps of it, such as its limits, is new either way.
        if next.replicas > 0 || self.loss(&next.name).is_some() {
            self.engine.apply(&self.awake(&next)).await?;
            self.found(&next.name);
        } else {
            self.engine.apply(&next).await?;
        }
        self.wakes.forgive(&next.name);
        self.scalers.look_anew(&next.name);
        let same = candidate.number == Some(former.number) && next.replicas == former.replicas;
        if same && former.canary.is_none() {
            return Ok((former, false));
        }
        let running = match next.replicas {
            0 => Function::clone(&former),
            _ => self.awake(&former),
        };
        let next = self.keep(next, candidate.number, Some(&running)).await?;
        self.deployed.put(Arc::clone(&next));
        self.reschedule(&next.name, &next.revision.settings.schedule)
            .await;
        Ok((next, true))
    }

    /// Swaps the revision and only then writes it down: a crash in between brings the former
    /// one back, which is right, since nobody was told of the new one yet.
    async fn replace(
        &self,
        next: Function,
        number: Option<u32>,
        former: Option<Arc<Function>>,
    ) -> Result<Arc<Function>, DeployError> {
        if let Some(former) = &former {
            self.let_go(former);
        }
        self.engine.apply(&self.awake(&next)).await?;
        let name = next.name.clone();
        let former = former.as_deref().map(|former| self.awake(former));
        let next = self.keep(next, number, former.as_ref()).await?;
        self.found(&name);
        self.wakes.forgive(&name);
        self.metrics.wakings.forget(&name);
        self.scalers.look_anew(&name);
        self.deployed.put(Arc::clone(&next));
        self.reschedule(&name, &next.revision.settings.schedule)
            .await;
        Ok(next)
    }

    /// Keeps what the replicas of a function need until they are gone.
    pub(crate) fn let_go(&self, function: &Function) {
        for revision in function.revisions() {
            self.images.remember(revision);
            self.bundles.let_go(revision);
        }
    }

    /// Has the engine run what it ran before, since the store could not be written.
    pub(crate) async fn undo(&self, former: &Function) {
        if let Err(undo) = self.engine.apply(former).await {
            tracing::error!("function `{}` could not be set back: {undo}", former.name);
        }
    }

    /// Writes down what runs now: one of the kept revisions by its number, else a new one, which
    /// gets the next. On error what answered before does again.
    async fn keep(
        &self,
        mut function: Function,
        number: Option<u32>,
        former: Option<&Function>,
    ) -> Result<Arc<Function>, StoreError> {
        let (keep, name) = (self.config.keep_revisions, function.name.clone());
        let kept = self.stored(move |store| {
            match number {
                Some(_) => store.put_function(&function)?,
                None => function.number = store.add_revision(&function, keep)?,
            }
            Ok(Arc::new(function))
        });
        let kept = kept.await;
        if kept.is_err() {
            match former {
                Some(former) => self.undo(former).await,
                None => {
                    if let Err(undo) = self.engine.remove(&name).await {
                        tracing::error!("function `{name}` could not be set back: {undo}");
                    }
                }
            }
        }
        kept
    }
}

/// A revision that is about to be rolled out.
pub(crate) struct Candidate {
    pub(crate) revision: Revision,
    /// Which of the function's kept revisions it is; `None` for a new one.
    pub(crate) number: Option<u32>,
    /// How many of the calls it is to get, if it is to be a canary.
    pub(crate) share: Option<Share>,
    /// Keeps what it needs until it is in the store.
    pub(crate) hold: Hold,
}

impl Candidate {
    /// Whether no replica of `former` could tell it from what it has.
    pub(crate) fn runs_like(&self, former: &Function) -> bool {
        match self.number {
            None => former.revision.runs_like(&self.revision),
            // As it was written down, with the digest that its replicas had.
            Some(_) => former.revision.digest == self.revision.digest,
        }
    }

    /// The same as `former` has, up to the words that no replica sees.
    fn in_place_of(self, former: &Function) -> Self {
        if self.number.is_some() {
            return self;
        }
        let revision = Revision {
            settings: self.revision.settings,
            ..former.revision.clone()
        };
        let same = revision == former.revision;
        Self {
            revision,
            number: same.then_some(former.number),
            share: None,
            hold: self.hold,
        }
    }

    /// The function as it stands after the rollout. A new revision has number 0 until it is kept.
    fn successor(&self, name: &FunctionName, former: Option<&Function>) -> Function {
        let now = SystemTime::now();
        Function {
            name: name.clone(),
            revision: self.revision.clone(),
            number: self.number.unwrap_or_default(),
            replicas: former.map_or(1, |former| former.replicas),
            canary: None,
            created_at: former.map_or(now, |former| former.created_at),
            updated_at: now,
        }
    }
}

/// What a deploy is to do.
pub(crate) struct Order {
    /// What the function is made of.
    pub(crate) origin: Origin,
    pub(crate) precondition: Precondition,
    /// How many of the calls the new revision is to get; `None` is all.
    pub(crate) canary: Option<Share>,
}

/// What must hold of a function's name when a deploy begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    /// Nothing.
    Any,
    /// Nobody has it.
    New,
    /// There is one to be changed.
    Exists,
}

impl Order {
    fn check(&self, name: &FunctionName, exists: bool) -> Result<(), DeployError> {
        match (self.precondition, exists) {
            (Precondition::New, true) => Err(DeployError::Exists(name.clone())),
            (Precondition::Exists, false) => Err(DeployError::Missing(name.clone())),
            (_, false) if self.canary.is_some() => Err(DeployError::NothingBeside(name.clone())),
            _ => Ok(()),
        }
    }
}
