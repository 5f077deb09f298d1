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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::{CallQueue, NewCall};

    fn call(body: usize) -> NewCall {
        NewCall {
            id: "a".into(),
            function: "hello".parse().expect("valid"),
            target: String::new(),
            headers: Vec::new(),
            body: vec![0; body],
            callback: None,
            taken_at: 0,
        }
    }

    /// Has calls with bodies of these sizes written at once; returns how each went.
    fn together(store: &Store, sizes: &[usize]) -> Vec<Result<(), StoreError>> {
        let queue = CallQueue::open(store).expect("opens");
        let (told, results) = channel();
        // Nothing is written while somebody else has the connection.
        store
            .with(|_| {
                for size in sizes {
                    let told = told.clone();
                    queue.take(call(*size), move |row| {
                        let _ = told.send(row.map(drop));
                    });
                }
                Ok(())
            })
            .expect("nothing to fail");
        results.iter().take(sizes.len()).collect()
    }

    #[test]
    fn many_writes_are_on_the_disk_when_each_is_told() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        let results = together(&store, &[1; 100]);
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        drop(store);
        let store = Store::open(data.path()).expect("opens");
        let queue = CallQueue::open(&store).expect("opens");
        let rows = queue.rows().expect("reads");
        let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, (1..=100).collect::<Vec<_>>());
        assert_eq!(rows[0].bytes, 4);
    }

    #[test]
    fn one_that_does_not_fit_takes_no_other_with_it() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        let full = |connection: &Connection| {
            connection.pragma_update_and_check(None, "max_page_count", 100, |_| Ok(()))
        };
        store.with(full).expect("set");
        let results = together(&store, &[1, 1 << 20, 1]);
        assert!(matches!(
            results[..],
            [Ok(()), Err(StoreError::DiskFull { .. }), Ok(())]
        ));
    }

    #[test]
    fn more_than_may_wait_is_refused_at_once() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        // One batch may be with the writer already.
        let results = together(&store, &[0; WAITING + TOGETHER + 1]);
        let refused = results.iter().filter(|result| result.is_err());
        assert!(refused.count() > 0);
        let crowded = |error: &StoreError| matches!(error, StoreError::Crowded { .. });
        let errors: Vec<_> = results
            .iter()
            .filter_map(|one| one.as_ref().err())
            .collect();
        assert!(errors.into_iter().all(crowded));
    }
}
