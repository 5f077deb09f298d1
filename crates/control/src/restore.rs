use std::sync::Arc;

use hob_model::Function;
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
    /// wakes by its first call.
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
            let asleep = Function {
                replicas: 0,
                ..function.clone()
            };
            let mut applied = self.engine.apply(&asleep).await;
            if applied.is_err() {
                self.mend_layers(&function.name, &function.revision).await;
                applied = self.engine.apply(&asleep).await;
            }
            match applied {
                Ok(()) => restored.functions += 1,
                Err(error) => {
                    restored.failed += 1;
                    tracing::error!("function `{}` is not served: {error}", function.name);
                }
            }
            self.deployed.put(Arc::new(function));
        }
        self.restore_queue().await?;
        self.restore_schedules().await?;
        Ok(restored)
    }
}
