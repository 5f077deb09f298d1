mod audit;
mod ban;
mod function;
mod lock;
mod meta;
mod namespace;
mod revision;
mod schedule;
mod schema;
mod snapshot;
mod token;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rusqlite::Connection;

use crate::{StoreError, durable};
pub use audit::{AUDIT_MOST, AUDIT_REFUSED_MOST, AuditFilter, AuditRow};
pub use lock::{DataLock, LOCK};
pub use revision::KeptRevision;
pub use schedule::ScheduleRow;
pub use snapshot::{Held, check_database};
pub use token::TokenRow;

/// File name of the database in the data directory.
const DATABASE: &str = "hob.db";
/// A folder in the data directory in which a backup is unpacked. While it is there, what else is
/// there may be a part of it.
pub const RESTORING: &str = ".restoring";
/// How long a write waits for another program, such as `sqlite3`, to end its transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The desired state of the server, in `hob.db`. A cheap handle: clones share one connection.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// One connection, since SQLite has one writer anyway and every statement here is short.
    connection: Mutex<Connection>,
    /// Held for as long as the last handle lives.
    _lock: DataLock,
}

// === impl Store ===

impl Store {
    /// Opens `hob.db` in the data directory `folder`, making both where they are missing, and
    /// keeps every other hob out of the directory until the last handle is dropped.
    ///
    /// # Errors
    /// When another hob has the directory, a restore into it was cut short, or the database is
    /// damaged, newer or unreadable.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(StoreError::io("make folder", folder))?;
        let lock = DataLock::take(folder)?;
        let restoring = folder.join(RESTORING);
        if restoring.exists() {
            return Err(StoreError::Restoring { folder: restoring });
        }
        let path = folder.join(DATABASE);
        // Made here and not by SQLite, since it holds the hash of the admin password.
        durable::private_file(&path)?;
        let connection = connect(&path).map_err(|error| StoreError::sql(&path, error))?;
        schema::migrate(&connection, &path)?;
        snapshot::check_vital(&connection, &path)?;
        durable::sync_folder(folder)?;
        Ok(Self(Arc::new(Inner {
            path,
            connection: Mutex::new(connection),
            _lock: lock,
        })))
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.0.path
    }

    /// Runs statements on the connection and names the file in their error.
    pub(crate) fn with<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        // A panic in between leaves at most a statement to be finalized, never half a change.
        let connection = self.0.connection.lock();
        let connection = connection.unwrap_or_else(PoisonError::into_inner);
        work(&connection).map_err(|error| StoreError::sql(&self.0.path, error))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.path.display())
    }
}

pub(crate) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL syncs at every commit: what was acknowledged survives a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_model::{Function, Revision, Run, Settings};

    fn function(padding: usize) -> Function {
        Function {
            name: "hello".parse().expect("valid"),
            revision: Revision {
                digest: "d".repeat(padding),
                bundle: "d".into(),
                language: "static".into(),
                run: Run::Static { root: ".".into() },
                settings: Settings::default(),
                built_at: std::time::UNIX_EPOCH,
            },
            number: 1,
            replicas: 1,
            canary: None,
            created_at: std::time::UNIX_EPOCH,
            updated_at: std::time::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_full_disk_is_named_and_what_was_there_stays() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        store.put_function(&function(1)).expect("fits");
        let full = |connection: &Connection| {
            connection.pragma_update_and_check(None, "max_page_count", 1, |_| Ok(()))
        };
        store.with(full).expect("set");
        let error = store.put_function(&function(1 << 20)).expect_err("full");
        assert!(matches!(error, StoreError::DiskFull { .. }), "{error}");
        assert_eq!(store.functions().expect("reads"), [function(1)]);
    }

    #[test]
    fn a_database_held_by_another_program_is_named() {
        let data = tempfile::tempdir().expect("tempdir");
        let store = Store::open(data.path()).expect("opens");
        store
            .with(|connection| connection.busy_timeout(Duration::ZERO))
            .expect("set");
        let other = Connection::open(data.path().join(DATABASE)).expect("opens");
        other.execute_batch("BEGIN IMMEDIATE").expect("holds");
        let error = store.put_function(&function(1)).expect_err("held");
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    }
}
