use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use hob_image::{ImageError, ImageFault};
use hob_model::{
    Function, FunctionName, Revision,
    port::{BuildError, BuildLine, BuildLog, EngineError, Packing, Source},
    wire::{DeployEvent, Fault, ImageDeploy},
};
use hob_store::StoreError;
use tempfile::TempPath;
use thiserror::Error;

use crate::{Control, events::Events, registries, remote_builds, turns::Turn};

/// Why a deploy came to nothing. What ran before still runs.
#[derive(Debug, Error)]
enum DeployError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("namespace `{0}` holds secrets of hob's own and can have no functions")]
    Reserved(String),
}

/// What a function is made of.
pub(crate) enum Origin {
    /// A folder that somebody sent, whole and on the disk. The file goes when this is dropped.
    Folder(TempPath),
    /// An image of a registry, or of this machine.
    Image(Box<ImageDeploy>),
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
            let (function, changed) = self.try_deploy(function, origin, &log).await?;
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

    async fn try_deploy(
        &self,
        name: FunctionName,
        origin: Origin,
        events: &Events,
    ) -> Result<(Arc<Function>, bool), DeployError> {
        if [registries::NAMESPACE, remote_builds::NAMESPACE].contains(&name.namespace()) {
            return Err(DeployError::Reserved(name.namespace().to_owned()));
        }
        let _turn = self.deploy_turn(&name, events).await;
        // Nothing of an image may be pruned before the store knows that it is in use.
        let _hold = self.images.store.hold().await;
        let revision = match origin {
            Origin::Folder(archive) => {
                let source = Source {
                    function: name.clone(),
                    archive: archive.to_path_buf(),
                    packing: Packing::Folder,
                };
                self.builder.build(source, build_log(events)).await?
            }
            Origin::Image(asked) => self.images.revision(&asked, events).await?,
        };

        let _change = self.changes.take(&name).await;
        let former = self.deployed.get(&name);
        events.push(DeployEvent::Step {
            text: format!("starting {name}"),
        });
        let result = match former {
            Some(former) if former.revision.digest == revision.digest => {
                self.revive(former).await.map(|function| (function, false))
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

    async fn deploy_turn(&self, name: &FunctionName, events: &Events) -> Turn {
        if let Some(turn) = self.deploys.try_take(name) {
            return turn;
        }
        events.push(DeployEvent::Step {
            text: format!("waiting for another deploy of {name}"),
        });
        self.deploys.take(name).await
    }

    /// An unchanged function answers calls when its deploy is done, as any other does.
    async fn revive(&self, function: Arc<Function>) -> Result<Arc<Function>, DeployError> {
        self.engine.apply(&awake(&function)).await?;
        self.wakes.forgive(&function.name);
        Ok(function)
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
        self.wakes.forgive(&next.name);
        self.deployed.put(next);
        Ok(())
    }
}

impl DeployError {
    fn fault(&self) -> Fault {
        match self {
            Self::Build(BuildError::Refused(_) | BuildError::Failed(_)) => Fault::Caller,
            Self::Build(BuildError::Missing(_) | BuildError::Host(_)) => Fault::Host,
            Self::Engine(EngineError::Start { .. } | EngineError::Unsupported(_)) => Fault::Caller,
            Self::Engine(
                EngineError::NotFound(_) | EngineError::NoInstance { .. } | EngineError::Host(_),
            ) => Fault::Host,
            Self::Image(error) if error.fault() == ImageFault::Caller => Fault::Caller,
            Self::Image(_) => Fault::Host,
            Self::Reserved(_) => Fault::Caller,
            Self::Store(_) => Fault::Host,
        }
    }
}

/// The function as it stands after the deploy of `revision`.
fn successor(name: FunctionName, revision: Revision, former: Option<&Function>) -> Function {
    let now = SystemTime::now();
    Function {
        name,
        revision,
        replicas: former.map_or(1, |former| former.replicas),
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

fn build_log(events: &Events) -> BuildLog {
    let events = events.clone();
    Arc::new(move |line| {
        events.push(match line {
            BuildLine::Step(text) => DeployEvent::Step { text },
            BuildLine::Output(text) => DeployEvent::Output { text },
        });
    })
}
