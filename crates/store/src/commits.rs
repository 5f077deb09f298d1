//! Group commit: all writes that wait go to the disk with one sync.
//!
//! While one sync is under way the next writes gather, so that the disk takes as many calls as
//! callers send at once, with no pause by the clock.

use std::{
    slice,
    sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    thread::{self, JoinHandle},
};

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{Store, StoreError};

/// Writes that may wait for the disk. More are refused at once.
const WAITING: usize = 8192;
/// Most writes that share a sync, so that the first of them is answered soon.
const TOGETHER: usize = 512;

/// The one thread that writes for many callers, over the connection of a [`Store`]: SQLite has one
/// writer, and a second connection would have to poll for its turn. Dropping it ends the thread
/// after everything that waits.
pub(crate) struct Commits {
    store: Store,
    sender: Option<SyncSender<Box<dyn Write>>>,
    thread: Option<JoinHandle<()>>,
}

/// A change and the one who waits for it.
trait Write: Send {
    /// Runs more than once where it was rolled back.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Answers whoever waits.
    fn end(self: Box<Self>, result: Result<(), StoreError>);
}

struct Change<W, T, D> {
    work: W,
    value: Option<T>,
    done: D,
}

// === impl Commits ===

impl Commits {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub(crate) fn start(store: &Store) -> Result<Self, StoreError> {
        let (sender, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("hob-commits".into());
        let writer = store.clone();
        let thread = thread
            .spawn(move || write(&writer, &waiting))
            .map_err(StoreError::io("start the writer of", store.path()))?;
        Ok(Self {
            store: store.clone(),
            sender: Some(sender),
            thread: Some(thread),
        })
    }

    /// Has `work` done and on the disk, then tells `done`, from the writer's thread and in the
    /// order of the writes. Never waits; `work` must bear being done again after a rollback.
    pub(crate) fn submit<T: Send + 'static>(
        &self,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        done: impl FnOnce(Result<T, StoreError>) + Send + 'static,
    ) {
        let change: Box<dyn Write> = Box::new(Change {
            work,
            value: None,
            done,
        });
        // It is there until this is dropped.
        let Some(sender) = &self.sender else { return };
        match sender.try_send(change) {
            Ok(()) => {}
            Err(TrySendError::Full(change) | TrySendError::Disconnected(change)) => {
                change.end(Err(StoreError::Crowded {
                    path: self.store.path().to_owned(),
                }));
            }
        }
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        self.sender = None;
        let Some(thread) = self.thread.take() else {
            return;
        };
        // Whoever was told last may have been the last owner as well.
        if thread.thread().id() != thread::current().id() {
            let _ = thread.join();
        }
    }
}

fn write(store: &Store, waiting: &Receiver<Box<dyn Write>>) {
    while let Ok(first) = waiting.recv() {
        let more = waiting.try_iter().take(TOGETHER - 1);
        commit(store, [first].into_iter().chain(more).collect());
    }
}

/// One that fails takes no other with it: then each goes alone. But what waited long for another
/// program's lock does not wait again, once each.
fn commit(store: &Store, mut batch: Vec<Box<dyn Write>>) {
    match store.with(|connection| transaction(connection, &mut batch)) {
        Ok(()) => {
            for write in batch {
                write.end(Ok(()));
            }
        }
        Err(StoreError::Busy { path }) => {
            for write in batch {
                write.end(Err(StoreError::Busy { path: path.clone() }));
            }
        }
        Err(_) => {
            for mut write in batch {
                let alone = slice::from_mut(&mut write);
                let result = store.with(|connection| transaction(connection, alone));
                write.end(result);
            }
        }
    }
}

fn transaction(connection: &Connection, batch: &mut [Box<dyn Write>]) -> rusqlite::Result<()> {
    let immediate = TransactionBehavior::Immediate;
    let transaction = Transaction::new_unchecked(connection, immediate)?;
    for write in batch {
        write.run(&transaction)?;
    }
    transaction.commit()
}

// === impl Change ===

impl<T, W, D> Write for Change<W, T, D>
where
    T: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    D: FnOnce(Result<T, StoreError>) + Send,
{
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.value = Some((self.work)(connection)?);
        Ok(())
    }

    fn end(self: Box<Self>, result: Result<(), StoreError>) {
        match (result, self.value) {
            (Ok(()), Some(value)) => (self.done)(Ok(value)),
            (Err(error), _) => (self.done)(Err(error)),
            // A commit that went well has run it.
            (Ok(()), None) => {}
        }
    }
}
