use std::{
    io,
    path::{Path, PathBuf},
};

use hob_model::is_disk_full;
use rusqlite::ErrorCode;
use thiserror::Error;

use crate::disk;

/// Why something could not be kept or read back. Each line names the file and the cure, and is
/// meant for the owner of the machine.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another hob works on the data directory.
    #[error(
        "data directory `{}` is in use by another hob{}: stop that one, or choose another directory",
        folder.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The data directory.
        folder: PathBuf,
        /// Who holds it, as far as the lock file tells.
        pid: Option<u32>,
    },
    /// Perhaps not all of a backup is in place.
    #[error(
        "a restore was cut short and has left `{}`: begin it again with `hob restore`",
        folder.display()
    )]
    Restoring {
        /// Where it was unpacked.
        folder: PathBuf,
    },
    /// The database has a schema that this hob has never heard of.
    #[error(
        "`{}` was written by a newer hob (schema {found}, this one knows {known}): start that version again",
        path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "`{}` is not a database, or it is damaged: move its folder away and bring a backup back with `hob restore`, or save what can still be read with `sqlite3 {} .recover`",
        path.display(),
        path.display()
    )]
    NotADatabase {
        /// The database.
        path: PathBuf,
    },
    /// No space left; nothing was changed.
    #[error("`{}` cannot be written, the disk is full: free some space and try again", path.display())]
    DiskFull {
        /// The file that should have grown.
        path: PathBuf,
    },
    /// Another program holds the database for too long.
    #[error("`{}` is locked by another program: end its transaction and try again", path.display())]
    Busy {
        /// The database.
        path: PathBuf,
    },
    /// More writes wait for the disk than it can take.
    #[error("too many writes wait for `{}`: try again in a second", path.display())]
    Crowded {
        /// The database.
        path: PathBuf,
    },
    /// Any other failure of SQLite.
    #[error("`{}`: {source}", path.display())]
    Sql {
        /// The database.
        path: PathBuf,
        /// SQLite's own words.
        source: rusqlite::Error,
    },
    /// The file system refused.
    #[error("cannot {action} `{}`: {source}", path.display())]
    Io {
        /// What was tried: "read".
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's own words.
        source: io::Error,
    },
    /// A value has no place in the database.
    #[error("`{field}` of function `{function}` is damaged: deploy the function again")]
    Damaged {
        /// Whose row.
        function: String,
        /// Which column.
        field: &'static str,
    },
    /// The key to the secrets is not there, and a new one could not open them.
    #[error(
        "`{}` is missing and there are secrets that only it can open: put it back, or move the secrets away",
        path.display()
    )]
    IdentityMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The key to the secrets cannot be used.
    #[error("`{}` holds no usable age identity: {problem}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A secret that nobody meant to set.
    #[error("the value of secret `{0}` is empty: nothing was changed")]
    SecretEmpty(String),
    /// A secret that is too large.
    #[error("the value of secret `{name}` is over {limit} bytes: nothing was changed")]
    SecretTooLarge {
        /// Its name.
        name: String,
        /// Most bytes that a secret may have.
        limit: usize,
    },
    /// A secret whose file could not have its name.
    #[error("secret name `{name}` is too long for a file: use at most {limit} characters")]
    SecretNameTooLong {
        /// The name.
        name: String,
        /// Most characters that it may have.
        limit: usize,
    },
    /// Encryption or hashing failed inside a library.
    #[error("cannot {action}: {problem}")]
    Crypto {
        /// What was tried.
        action: &'static str,
        /// The library's own words.
        problem: String,
    },
}

impl StoreError {
    /// Whether the one who asked has to change something, not the owner of the machine.
    pub fn is_callers_fault(&self) -> bool {
        matches!(
            self,
            Self::SecretEmpty(_) | Self::SecretTooLarge { .. } | Self::SecretNameTooLong { .. }
        )
    }

    /// Whether it is one row that cannot be read, and another try would be no use.
    pub fn is_damaged_row(&self) -> bool {
        use rusqlite::Error::{
            FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
        };
        matches!(
            self,
            Self::Sql {
                source: FromSqlConversionFailure(..)
                    | IntegralValueOutOfRange(..)
                    | InvalidColumnType(..)
                    | Utf8Error(..),
                ..
            }
        )
    }

    pub(crate) fn sql(path: &Path, source: rusqlite::Error) -> Self {
        // SQLite has no word for a full disk where its index in shared memory does not fit.
        let wants_room = matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
        );
        let full = wants_room && path.parent().is_some_and(disk::is_full);
        let path = path.to_owned();
        match source.sqlite_error_code() {
            _ if full => Self::DiskFull { path },
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::NotADatabase { path }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            _ => Self::Sql { path, source },
        }
    }

    /// For `map_err`: what was tried on which path.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| match is_disk_full(&source) {
            true => Self::DiskFull {
                path: path.to_owned(),
            },
            false => Self::Io {
                action,
                path: path.to_owned(),
                source,
            },
        }
    }
}
