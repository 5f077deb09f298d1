use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use hob_image::{ImageError, ImageFault};
use hob_model::{
    DEFAULT_NAMESPACE, Function, FunctionName, Revision, SecretName,
    port::{BuildError, EngineError},
    wire::{DeployEvent, Fault},
};
use hob_store::StoreError;
use thiserror::Error;

use crate::{
    Control,
    bundles::Hold,
    events::Events,
    namespaces::is_reserved,
    origin::Origin,
    schedule::{self, ScheduleError},
    translate::AskedError,
    turns::Turn,
};

/// Why a deploy came to nothing. What ran before still runs.
#[derive(Debug, Error)]
pub(crate) enum DeployError {
    #[error("function `{0}` already exists")]
    Exists(FunctionName),
    #[error("function `{0}` does not exist")]
    Missing(FunctionName),
    #[error(transparent)]
    Asked(#[from] AskedError),
    #[error("secret `{secret}` does not exist in namespace `{namespace}`: create it first")]
    NoSecret {
        secret: SecretName,
        namespace: String,
    },
    #[error(
        "there is neither an image of this name nor bundle `{0}` on this machine: `hob deploy` the folder again"
    )]
    NoBundle(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Schedule(#[from] ScheduleError),
    #[error(
        "function `{function}` has no revision {number}: `hob revisions {function}` shows those that are kept"
    )]
    NoRevision { function: FunctionName, number: u32 },
    #[error(
        "function `{0}` has no earlier revision to go back to: `hob revisions {0}` shows those that are kept"
    )]
    NoEarlier(FunctionName),
    #[error("namespace `{0}` is reserved and can have no functions")]
    Reserved(String),
    #[error("function `{0}` or its namespace was removed meanwhile")]
    Removed(FunctionName),
}

// === impl Control ===

impl Control {
    /// Brings a function to life: build or pull → start and swap (engine) → store → done.
    ///
    /// Goes on to its end even when nobody reads the events: a connection that breaks after the
    /// upload loses nothing, and the same deploy again finds itself unchanged.
    pub(crate) async fn deploy(
        self: Arc<Self>,
        name: FunctionName,
        origin: Origin,
        events: Events,
    ) {
        let (control, function, log) = (Arc::clone(&self), name.clone(), events.clone());
        let work = async move {
            let deploy = control.try_deploy(function, origin, Precondition::Any, &log);
            deploy.await
        };
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
        origin: Origin,
        precondition: Precondition,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        if is_reserved(name.namespace()) {
            return Err(DeployError::Reserved(name.namespace().to_owned()));
        }
        let _turn = self.deploy_turn(&name, events).await;
        let former = self.deployed.get(&name);
        precondition.check(&name, former.is_some())?;
        let had_namespace = self.has_namespace(&name).await?;
        // Nothing of it may be pruned or collected before the store knows that it is in use.
        let hold = self.hold().await;
        let revision = self.revision(&name, origin, events).await?;
        schedule::check(&revision.run, &revision.settings.schedule)?;

        let change = self.changes.take(&name).await;
        let is_gone = former.is_some() && self.deployed.get(&name).is_none();
        // What somebody took away meanwhile stays away.
        if is_gone || (had_namespace && !self.has_namespace(&name).await?) {
            return Err(DeployError::Removed(name));
        }
        let candidate = Candidate {
            revision,
            number: None,
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
        events.push(DeployEvent::Step {
            text: format!("starting {name}"),
        });
        let result = match self.deployed.get(name) {
            Some(former) if candidate.runs_like(&former) => self.revise(former, candidate).await,
            former => {
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
        if matches!(result, Ok((_, true))) {
            self.bundles.look();
        }
        result
    }

    /// The function with the number of replicas that it is to run with: at least one, even where
    /// the wish is to sleep until the next call, and as many as its calls need now.
    fn awake(&self, function: &Function) -> Function {
        let range = function
            .revision
            .settings
            .scaling()
            .range(function.replicas);
        let now = self.scalers.wanted(&function.name).unwrap_or(1);
        Function {
            replicas: now.clamp(*range.start(), *range.end()),
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
        if candidate.number == Some(former.number) && next.replicas == former.replicas {
            return Ok((former, false));
        }
        let next = self.keep(next, candidate.number, Some(&former)).await?;
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
            // Its replicas need what they have until they are gone.
            self.images.remember(&former.revision);
            self.bundles.let_go(&former.revision);
        }
        self.engine.apply(&self.awake(&next)).await?;
        let name = next.name.clone();
        let former = former.as_deref().map(|former| self.awake(former));
        let next = self.keep(next, number, former.as_ref()).await?;
        self.found(&name);
        self.wakes.forgive(&name);
        self.deployed.put(Arc::clone(&next));
        self.reschedule(&name, &next.revision.settings.schedule)
            .await;
        Ok(next)
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
            let undone = match former {
                Some(former) => self.engine.apply(former).await,
                None => self.engine.remove(&name).await,
            };
            if let Err(undo) = undone {
                tracing::error!("function `{name}` could not be set back: {undo}");
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
    /// Keeps what it needs until it is in the store.
    pub(crate) hold: Hold,
}

impl Candidate {
    /// Whether no replica of `former` could tell it from what it has.
    fn runs_like(&self, former: &Function) -> bool {
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
            created_at: former.map_or(now, |former| former.created_at),
            updated_at: now,
        }
    }
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

impl Precondition {
    fn check(self, name: &FunctionName, exists: bool) -> Result<(), DeployError> {
        match (self, exists) {
            (Self::New, true) => Err(DeployError::Exists(name.clone())),
            (Self::Exists, false) => Err(DeployError::Missing(name.clone())),
            _ => Ok(()),
        }
    }
}

impl DeployError {
    /// Who has to mend it.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Self::Exists(_)
            | Self::Missing(_)
            | Self::Asked(_)
            | Self::NoSecret { .. }
            | Self::NoBundle(_)
            | Self::NoRevision { .. }
            | Self::NoEarlier(_)
            | Self::Reserved(_)
            | Self::Removed(_) => Fault::Caller,
            Self::Build(BuildError::Refused(_) | BuildError::Failed(_)) => Fault::Caller,
            Self::Build(BuildError::Missing(_) | BuildError::Host(_)) => Fault::Host,
            Self::Engine(EngineError::Start { .. } | EngineError::Unsupported(_)) => Fault::Caller,
            Self::Engine(
                EngineError::NotFound(_) | EngineError::NoInstance { .. } | EngineError::Host(_),
            ) => Fault::Host,
            Self::Image(error) if error.fault() == ImageFault::Caller => Fault::Caller,
            Self::Image(_) => Fault::Host,
            Self::Schedule(error) => error.fault(),
            Self::Store(_) => Fault::Host,
        }
    }
}
