use std::sync::{Arc, PoisonError};

use hob_model::{Function, FunctionName, Guard, Route, Target, Track};
use hob_store::{Store, StoreError};

use crate::Control;

/// What [`Control::restore`] brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Functions that have their route again.
    pub functions: usize,
    /// Functions that could not be brought back; each is named in the log.
    pub failed: usize,
}

impl Control {
    /// Gives every stored function its route, and learns what is in the queue. None is started: each
    /// wakes by its first call, or by [`Control::run`] where some of it always runs.
    ///
    /// # Errors
    /// When the store cannot be read. A function that fails alone is logged and counted; it
    /// stays deployed, so that it can be looked at, deployed again or removed.
    pub async fn restore(&self) -> Result<Restored, StoreError> {
        let mut restored = Restored {
            functions: 0,
            failed: 0,
        };
        for function in self.stored(Store::functions).await? {
            let mut function = function;
            let mut applied = self.engine.apply(&function.asleep()).await;
            if applied.is_err() {
                for revision in function.revisions() {
                    self.mend_layers(&function.name, revision).await;
                }
                applied = self.engine.apply(&function.asleep()).await;
            }
            if let Err(error) = &applied
                && function.canary.take().is_some()
            {
                let name = &function.name;
                tracing::error!("the canary of function `{name}` has ended: {error}");
                applied = self.engine.apply(&function.asleep()).await;
                let written = function.clone();
                let ended = self.stored(move |store| store.put_function(&written));
                if let Err(error) = ended.await {
                    tracing::error!("it comes back at the next start: {error}");
                }
            }
            match applied {
                Ok(()) => restored.functions += 1,
                Err(error) => {
                    restored.failed += 1;
                    tracing::error!("function `{}` is not served: {error}", function.name);
                    self.lose(&function, error.to_string());
                }
            }
            self.tell_of_lost_domains(&function);
            self.deployed.put(Arc::new(function));
        }
        self.restore_tokens().await?;
        self.restore_queue().await?;
        self.restore_schedules().await?;
        self.restore_bans().await?;
        Ok(restored)
    }
    /// Remembers why `function` cannot run, and has its calls answered with an error instead of
    /// being told that there is no such function.
    fn lose(&self, function: &Function, problem: String) {
        let settings = &function.revision.settings;
        self.routes.set(Route {
            function: function.name.clone(),
            track: Track::Stable,
            revision: function.revision.digest.clone(),
            timeout: settings.timeout,
            body_limit: settings.limits.body.0,
            output_limit: settings.limits.output.0,
            cors: settings.cors.clone(),
            guard: Guard::of(settings),
            domains: settings.domain.clone(),
            // None of them will ever be there, and to wake one fails.
            target: Target::Replicas(Arc::default()),
            counters: Arc::default(),
            canary: None,
        });
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.insert(function.name.clone(), problem);
    }

    /// Why `name` cannot run, if that is so.
    pub(crate) fn loss(&self, name: &FunctionName) -> Option<String> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.get(name).cloned()
    }

    /// Says that `name` can run again, or is no more.
    pub(crate) fn found(&self, name: &FunctionName) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.remove(name);
    }
}
