use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hob_model::{Function, FunctionName, Label, Revision};
use rusqlite::{OptionalExtension, Row, params};
use serde_json as json;

use super::Store;
use crate::StoreError;

/// End of the year 9999, after which RFC 3339 has no notation; in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

const SELECT: &str = "SELECT namespace, name, digest, language, replicas, created_at, updated_at,
    built_at, run, settings, bundle FROM functions";

impl Store {
    /// Adds `function`, or puts it in place of the one of its name.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn put_function(&self, function: &Function) -> Result<(), StoreError> {
        let revision = &function.revision;
        let run = to_json(function, "run", json::to_string(&revision.run))?;
        let settings = to_json(function, "settings", json::to_string(&revision.settings))?;
        self.with(|connection| {
            connection
                .prepare(
                    "INSERT INTO functions (namespace, name, digest, language, replicas,
                         created_at, updated_at, built_at, run, settings, bundle)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
                     ON CONFLICT (namespace, name) DO UPDATE SET
                         digest = excluded.digest, language = excluded.language,
                         replicas = excluded.replicas, created_at = excluded.created_at,
                         updated_at = excluded.updated_at, built_at = excluded.built_at,
                         run = excluded.run, settings = excluded.settings,
                         bundle = excluded.bundle",
                )?
                .execute(params![
                    function.name.namespace(),
                    function.name.name(),
                    revision.digest,
                    revision.language,
                    function.replicas,
                    to_text(function.created_at),
                    to_text(function.updated_at),
                    to_text(revision.built_at),
                    run,
                    settings,
                    revision.bundle,
                ])
        })
        .map(drop)
    }

    /// The function called `name`, if there is one.
    ///
    /// # Errors
    /// When the database or the row cannot be read.
    pub fn function(&self, name: &FunctionName) -> Result<Option<Function>, StoreError> {
        let row = self.with(|connection| {
            connection
                .prepare(&format!("{SELECT} WHERE namespace = ?1 AND name = ?2"))?
                .query_row([name.namespace(), name.name()], Stored::read)
                .optional()
        })?;
        row.map(Function::try_from).transpose()
    }

    /// Every function, sorted by namespace and name. A row that somebody damaged by hand is
    /// reported in the log and left out, so that the others serve.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn functions(&self) -> Result<Vec<Function>, StoreError> {
        let rows: Vec<Stored> = self.with(|connection| {
            connection
                .prepare(&format!("{SELECT} ORDER BY namespace, name"))?
                .query_map([], Stored::read)?
                .collect()
        })?;
        let readable = rows.into_iter().filter_map(|row| {
            Function::try_from(row)
                .inspect_err(|error| tracing::error!("left out: {error}"))
                .ok()
        });
        Ok(readable.collect())
    }

    /// Sets how many replicas `name` has while it is awake; false when there is no such function.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_replicas(&self, name: &FunctionName, replicas: u32) -> Result<bool, StoreError> {
        let changed = self.with(|connection| {
            connection.execute(
                "UPDATE functions SET replicas = ?3 WHERE namespace = ?1 AND name = ?2",
                params![name.namespace(), name.name(), replicas],
            )
        })?;
        Ok(changed > 0)
    }

    /// Forgets `name`; false when there is no such function.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn remove_function(&self, name: &FunctionName) -> Result<bool, StoreError> {
        let changed = self.with(|connection| {
            connection.execute(
                "DELETE FROM functions WHERE namespace = ?1 AND name = ?2",
                [name.namespace(), name.name()],
            )
        })?;
        Ok(changed > 0)
    }
}

/// A row as it stands in the table.
struct Stored {
    namespace: String,
    name: String,
    digest: String,
    language: String,
    replicas: u32,
    created_at: String,
    updated_at: String,
    built_at: String,
    run: String,
    settings: String,
    bundle: String,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            namespace: row.get(0)?,
            name: row.get(1)?,
            digest: row.get(2)?,
            language: row.get(3)?,
            replicas: row.get(4)?,
            created_at: row.get(5)?,
            updated_at: row.get(6)?,
            built_at: row.get(7)?,
            run: row.get(8)?,
            settings: row.get(9)?,
            bundle: row.get(10)?,
        })
    }
}

impl TryFrom<Stored> for Function {
    type Error = StoreError;

    fn try_from(row: Stored) -> Result<Self, StoreError> {
        let damaged = |field| StoreError::Damaged {
            function: format!("{}.{}", row.name, row.namespace),
            field,
        };
        let label = |text: &str, field| text.parse::<Label>().map_err(|_| damaged(field));
        let time =
            |text: &str, field| humantime::parse_rfc3339_weak(text).map_err(|_| damaged(field));
        Ok(Self {
            name: FunctionName::new(
                label(&row.name, "name")?,
                label(&row.namespace, "namespace")?,
            ),
            replicas: row.replicas,
            created_at: time(&row.created_at, "created_at")?,
            updated_at: time(&row.updated_at, "updated_at")?,
            revision: Revision {
                run: json::from_str(&row.run).map_err(|_| damaged("run"))?,
                settings: json::from_str(&row.settings).map_err(|_| damaged("settings"))?,
                built_at: time(&row.built_at, "built_at")?,
                digest: row.digest,
                bundle: row.bundle,
                language: row.language,
            },
        })
    }
}

fn to_json(
    function: &Function,
    field: &'static str,
    text: json::Result<String>,
) -> Result<String, StoreError> {
    text.map_err(|_| StoreError::Damaged {
        function: function.name.to_string(),
        field,
    })
}

/// Exact to the nanosecond, so that what is read back equals what was put. A clock that is set
/// to a time without notation gives the nearest one that has some.
pub(super) fn to_text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = UNIX_EPOCH + since.min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_nanos(time).to_string()
}
