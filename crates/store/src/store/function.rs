use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hob_model::{Canary, Function, FunctionName, Label, Share};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Store,
    revision::{self, COLUMNS, Columns, damaged, read_time},
};
use crate::StoreError;

/// End of the year 9999, after which RFC 3339 has no notation; in seconds since 1970.
const LAST_SECOND: u64 = 253_402_300_799;

impl Store {
    /// Adds `function`, or puts it in place of the one of its name. Its revision and its canary's are
    /// kept ones: [`Store::add_revision`] and [`Store::add_canary`] keep new ones.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn put_function(&self, function: &Function) -> Result<(), StoreError> {
        let columns = Columns::of(&function.name, &function.revision)?;
        self.with(|connection| put(connection, function, function.number, &columns))
    }

    /// The function called `name`, if there is one.
    ///
    /// # Errors
    /// When the database or the row cannot be read.
    pub fn function(&self, name: &FunctionName) -> Result<Option<Function>, StoreError> {
        let row = self.with(|connection| {
            connection
                .prepare(&select("WHERE f.namespace = ?1 AND f.name = ?2"))?
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
                .prepare(&select("ORDER BY f.namespace, f.name"))?
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

    /// Sets how many replicas `name` has while it is awake, and its canary if it has one; false when
    /// there is no such function.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn set_replicas(
        &self,
        name: &FunctionName,
        replicas: u32,
        canary: Option<u32>,
    ) -> Result<bool, StoreError> {
        let changed = self.with(|connection| {
            connection.execute(
                "UPDATE functions SET replicas = ?3, canary_replicas = ?4
                 WHERE namespace = ?1 AND name = ?2",
                params![name.namespace(), name.name(), replicas, canary],
            )
        })?;
        Ok(changed > 0)
    }

    /// Forgets `name` and its revisions; false when there is no such function.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn remove_function(&self, name: &FunctionName) -> Result<bool, StoreError> {
        let whose = [name.namespace(), name.name()];
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            revision::note_removal(&transaction, whose)?;
            transaction.execute(
                "DELETE FROM revisions WHERE namespace = ?1 AND function = ?2",
                whose,
            )?;
            let changed = transaction.execute(
                "DELETE FROM functions WHERE namespace = ?1 AND name = ?2",
                whose,
            )?;
            transaction.commit()?;
            Ok(changed > 0)
        })
    }
}

/// Writes the row of a function whose revision is `columns`, numbered `number`.
pub(super) fn put(
    connection: &Connection,
    function: &Function,
    number: u32,
    columns: &Columns,
) -> rusqlite::Result<()> {
    let canary = function.canary.as_deref();
    let [digest, bundle, language, run, settings, built_at] = columns.values();
    connection
        .prepare(&format!(
            "INSERT INTO functions (namespace, name, number, replicas, created_at, updated_at,
                 {COLUMNS}, canary, canary_share, canary_replicas)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (namespace, name) DO UPDATE SET
                 number = excluded.number, replicas = excluded.replicas,
                 created_at = excluded.created_at, updated_at = excluded.updated_at,
                 digest = excluded.digest, bundle = excluded.bundle,
                 language = excluded.language, run = excluded.run,
                 settings = excluded.settings, built_at = excluded.built_at,
                 canary = excluded.canary, canary_share = excluded.canary_share,
                 canary_replicas = excluded.canary_replicas"
        ))?
        .execute(params![
            function.name.namespace(),
            function.name.name(),
            number,
            function.replicas,
            to_text(function.created_at),
            to_text(function.updated_at),
            digest,
            bundle,
            language,
            run,
            settings,
            built_at,
            canary.map(|canary| canary.number),
            canary.map(|canary| canary.share.hundredths()),
            canary.map(|canary| canary.replicas),
        ])
        .map(drop)
}

fn select(rest: &str) -> String {
    let columns = |table: &str| {
        let columns = COLUMNS
            .split(", ")
            .map(|column| format!("{table}.{column}"));
        columns.collect::<Vec<_>>().join(", ")
    };
    let (own, canary) = (columns("f"), columns("c"));
    format!(
        "SELECT f.namespace, f.name, f.number, f.replicas, f.created_at, f.updated_at, {own},
             c.number, f.canary_share, f.canary_replicas, {canary}
         FROM functions f LEFT JOIN revisions c ON c.namespace = f.namespace
             AND c.function = f.name AND c.number = f.canary
         {rest}"
    )
}

/// A row as it stands in the table.
struct Stored {
    namespace: String,
    name: String,
    number: u32,
    replicas: u32,
    created_at: String,
    updated_at: String,
    revision: Columns,
    canary: Option<StoredCanary>,
}

/// A canary as it stands in that row.
struct StoredCanary {
    number: u32,
    share: u16,
    replicas: u32,
    revision: Columns,
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            namespace: row.get(0)?,
            name: row.get(1)?,
            number: row.get(2)?,
            replicas: row.get(3)?,
            created_at: row.get(4)?,
            updated_at: row.get(5)?,
            revision: Columns::read(row, 6)?,
            canary: match row.get(12)? {
                Some(number) => Some(StoredCanary {
                    number,
                    share: row.get(13)?,
                    replicas: row.get(14)?,
                    revision: Columns::read(row, 15)?,
                }),
                None => None,
            },
        })
    }
}

impl StoredCanary {
    fn canary(self, whose: &str) -> Result<Canary, StoreError> {
        Ok(Canary {
            number: self.number,
            share: Share::new(self.share).map_err(|_| damaged(whose, "canary_share"))?,
            replicas: self.replicas,
            revision: self.revision.revision(whose)?,
        })
    }
}

impl TryFrom<Stored> for Function {
    type Error = StoreError;

    fn try_from(row: Stored) -> Result<Self, StoreError> {
        let whose = format!("{}.{}", row.name, row.namespace);
        let label = |text: &str, field| text.parse::<Label>().map_err(|_| damaged(&whose, field));
        // The function itself serves all the same.
        let canary = row.canary.and_then(|canary| {
            let canary = canary.canary(&whose);
            canary
                .inspect_err(|error| tracing::error!("its canary is left out: {error}"))
                .ok()
        });
        Ok(Self {
            name: FunctionName::new(
                label(&row.name, "name")?,
                label(&row.namespace, "namespace")?,
            ),
            number: row.number,
            replicas: row.replicas,
            created_at: read_time(&whose, "created_at", &row.created_at)?,
            updated_at: read_time(&whose, "updated_at", &row.updated_at)?,
            revision: row.revision.revision(&whose)?,
            canary: canary.map(Box::new),
        })
    }
}

/// Exact to the nanosecond, so that what is read back equals what was put. A clock that is set
/// to a time without notation gives the nearest one that has some.
pub(super) fn to_text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = UNIX_EPOCH + since.min(Duration::from_secs(LAST_SECOND));
    humantime::format_rfc3339_nanos(time).to_string()
}
