use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use hob_image::{ImageError, ImageFault};
use hob_model::{
    DEFAULT_NAMESPACE, Function, FunctionName, Revision, SecretName,
    openfaas::ScaleLabels,
    port::{BuildError, EngineError},
    wire::{DeployEvent, Fault},
};
use hob_store::StoreError;
use thiserror::Error;

use crate::{
    Control,
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
        let began = Instant::now();
        let (function, log) = (name.clone(), events.clone());
        // A task of its own, so that even a panic ends the answer with a proper last line.
        let work = tokio::spawn(async move {
            let deploy = self.try_deploy(function, origin, Precondition::Any, &log);
            let (function, changed) = deploy.await?;
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
        // Nothing of an image may be pruned before the store knows that it is in use.
        let _hold = self.images.store.hold().await;
        let revision = self.revision(&name, origin, events).await?;
        schedule::check(&revision.run, &revision.settings.schedule)?;

        let _change = self.changes.take(&name).await;
        let was_there = former.is_some();
        let former = self.deployed.get(&name);
        // What somebody took away meanwhile stays away.
        if (was_there && former.is_none()) || (had_namespace && !self.has_namespace(&name).await?) {
            return Err(DeployError::Removed(name));
        }
        events.push(DeployEvent::Step {
            text: format!("starting {name}"),
        });
        let result = match former {
            Some(former) if former.revision.runs_like(&revision) => {
                self.revise(former, revision).await
            }
            former => {
                let next = Arc::new(successor(name, revision, former.as_deref()));
                let replaced = self.replace(Arc::clone(&next), former).await;
                replaced.map(|()| (next, true))
            }
        };
        if let Err(DeployError::Engine(EngineError::Start { log_tail, .. })) = &result {
            for text in log_tail.iter().cloned() {
                events.push(DeployEvent::Output { text });
            }
        }
        result
    }

    async fn has_namespace(&self, name: &FunctionName) -> Result<bool, StoreError> {
        let namespace = name.namespace();
        Ok(namespace == DEFAULT_NAMESPACE || self.namespace(namespace).await?.is_some())
    }

    async fn deploy_turn(&self, name: &FunctionName, events: &Events) -> Turn {
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
        revision: Revision,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        let words_only = Revision {
            settings: revision.settings,
            ..former.revision.clone()
        };
        let next = successor(former.name.clone(), words_only, Some(&former));
        // Somebody may want none of it to run: then its next call wakes it, as before.
        if next.replicas > 0 || self.loss(&next.name).is_some() {
            self.engine.apply(&awake(&next)).await?;
            self.found(&next.name);
        }
        self.wakes.forgive(&next.name);
        if next.revision == former.revision && next.replicas == former.replicas {
            return Ok((former, false));
        }
        let next = Arc::new(next);
        let row = Arc::clone(&next);
        self.stored(move |store| store.put_function(&row)).await?;
        self.deployed.put(Arc::clone(&next));
        self.reschedule(&next.name, &next.revision.settings.schedule)
            .await;
        Ok((next, true))
    }

    /// Swaps the revision and only then writes it down: a crash in between brings the former
    /// one back, which is right, since nobody was told of the new one yet.
    async fn replace(
        &self,
        next: Arc<Function>,
        former: Option<Arc<Function>>,
    ) -> Result<(), DeployError> {
        if let Some(former) = &former {
            // Its replicas need what they have until they are gone.
            self.images.remember(&former.revision);
        }
        self.engine.apply(&awake(&next)).await?;
        let row = Arc::clone(&next);
        if let Err(error) = self.stored(move |store| store.put_function(&row)).await {
            let undone = match &former {
                Some(former) => self.engine.apply(&awake(former)).await,
                None => self.engine.remove(&next.name).await,
            };
            if let Err(undo) = undone {
                tracing::error!("function `{}` could not be set back: {undo}", next.name);
            }
            return Err(error.into());
        }
        self.found(&next.name);
        self.wakes.forgive(&next.name);
        self.deployed.put(Arc::clone(&next));
        self.reschedule(&next.name, &next.revision.settings.schedule)
            .await;
        Ok(())
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

/// The function as it stands after the deploy of `revision`.
fn successor(name: FunctionName, revision: Revision, former: Option<&Function>) -> Function {
    let now = SystemTime::now();
    // They were read when they came.
    let labels = ScaleLabels::read(&revision.settings.labels).unwrap_or_default();
    Function {
        name,
        revision,
        replicas: labels.fit(former.map_or(1, |former| former.replicas)),
        created_at: former.map_or(now, |former| former.created_at),
        updated_at: now,
    }
}

/// The same, but running, even where the wish is to sleep until the next call.
fn awake(function: &Function) -> Function {
    Function {
        replicas: function.replicas.max(1),
        ..function.clone()
    }
}
