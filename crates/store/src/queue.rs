mod call;
mod read;
mod write;

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

pub use call::{
    Attempt, CallRecord, CallRow, CallState, CallToMake, CallbackToMake, Ending, Fields, Listing,
    NewCall, Next,
};

use crate::{Store, StoreError, commits::Commits, store};

/// The asynchronous calls, in the table `calls`. A cheap handle.
///
/// Writes never wait: each is given a closure that is told when the change is on the disk, from
/// the writer's own thread. Reads block on the disk, and never on a write.
#[derive(Clone)]
pub struct CallQueue(Arc<Inner>);

struct Inner {
    store: Store,
    commits: Commits,
    /// In WAL mode a reader of its own waits for no sync of the writer.
    reader: Mutex<Connection>,
}

impl CallQueue {
    /// The queue in the database of `store`.
    ///
    /// # Errors
    /// When the database cannot be opened once more, or the machine has no thread left.
    pub fn open(store: &Store) -> Result<Self, StoreError> {
        let reader = store::connect(store.path())
            .and_then(|reader| {
                reader.pragma_update(None, "query_only", true)?;
                Ok(reader)
            })
            .map_err(|error| StoreError::sql(store.path(), error))?;
        Ok(Self(Arc::new(Inner {
            commits: Commits::start(store)?,
            store: store.clone(),
            reader: Mutex::new(reader),
        })))
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let reader = self.0.reader.lock();
        let reader = reader.unwrap_or_else(PoisonError::into_inner);
        work(&reader).map_err(|error| StoreError::sql(self.0.store.path(), error))
    }
}

impl std::fmt::Debug for CallQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallQueue({})", self.0.store.path().display())
    }
}
