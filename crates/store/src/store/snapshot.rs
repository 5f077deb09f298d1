use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::{BUSY_TIMEOUT, DATABASE, Store};
use crate::{StoreError, durable};

/// Small tables without which no server starts. Those of the queue and the audit may be large:
/// [`check_database`] looks at them too.
const VITAL: [&str; 6] = [
    "bans",
    "functions",
    "meta",
    "namespaces",
    "schedules",
    "tokens",
];

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Functions.
    pub functions: u64,
    /// Asynchronous calls that are still to be made.
    pub calls: u64,
}

impl Store {
    /// Writes the database as it is at one moment into the new file `target`, which only its owner
    /// reads. Writers go on meanwhile, since this reads over a connection of its own.
    ///
    /// # Errors
    /// When a page of the database is damaged, or `target` cannot be written.
    pub fn snapshot(&self, target: &Path) -> Result<Held, StoreError> {
        // SQLite takes an empty file as it is, and would make one that others read.
        durable::private_file(target)?;
        let source = open_only(self.path())?;
        source
            .execute("VACUUM INTO ?1", [target.to_string_lossy()])
            .map_err(|error| match StoreError::sql(self.path(), error) {
                StoreError::DiskFull { .. } => StoreError::DiskFull {
                    path: target.to_owned(),
                },
                error => error,
            })?;
        let copy = open_only(target)?;
        held(&copy).map_err(|error| StoreError::sql(target, error))
    }

    /// What it holds now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn held(&self) -> Result<Held, StoreError> {
        self.with(held)
    }
}

/// Looks at every page of the database in the data directory `folder`, also while a hob works
/// with it; false when there is none. Takes as long as it takes to read the file.
///
/// # Errors
/// [`StoreError::NotADatabase`] when it is damaged, or it cannot be read.
pub fn check_database(folder: &Path) -> Result<bool, StoreError> {
    let path = folder.join(DATABASE);
    if !path.exists() {
        return Ok(false);
    }
    let connection = open_only(&path)?;
    quick_check(&connection, None)
        .map_err(|error| StoreError::sql(&path, error))
        .and_then(|sound| if sound { Ok(true) } else { Err(damaged(&path)) })
}

/// Looks at the tables without which nothing can be served.
pub(super) fn check_vital(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    for table in VITAL {
        let sound = quick_check(connection, Some(table));
        if !sound.map_err(|error| StoreError::sql(path, error))? {
            return Err(damaged(path));
        }
    }
    Ok(())
}

fn quick_check(connection: &Connection, table: Option<&str>) -> rusqlite::Result<bool> {
    let argument = table.unwrap_or("1");
    let query = format!("PRAGMA quick_check({argument})");
    connection.query_row(&query, [], |row| {
        row.get::<_, String>(0).map(|found| found == "ok")
    })
}

fn damaged(path: &Path) -> StoreError {
    StoreError::NotADatabase {
        path: path.to_owned(),
    }
}

fn held(connection: &Connection) -> rusqlite::Result<Held> {
    let count = |query| {
        let number = connection.query_row(query, [], |row| row.get::<_, i64>(0))?;
        Ok::<_, rusqlite::Error>(number.unsigned_abs())
    };
    Ok(Held {
        functions: count("SELECT count(*) FROM functions")?,
        calls: count("SELECT count(*) FROM calls WHERE state = 'waiting'")?,
    })
}

/// A connection to a database that is there.
fn open_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
        .map_err(|error| StoreError::sql(path, error))
}
