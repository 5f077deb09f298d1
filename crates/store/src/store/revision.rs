use std::{collections::BTreeSet, time::SystemTime};

use hob_model::{Canary, Function, FunctionName, Revision, Run};
use rusqlite::{Connection, Row, params};
use serde_json as json;

use super::{
    Store,
    function::{self, to_text},
};
use crate::{StoreError, clock::unix_now};

/// The columns of a revision, in the order of [`Columns::read`].
pub(super) const COLUMNS: &str = "digest, bundle, language, run, settings, built_at";

/// How long the bundle of a removed function is needed after that, in milliseconds.
const AFTER_REMOVAL: i64 = 3_600_000;

/// A revision that a rollback can bring back.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptRevision {
    /// Which of the function's: 1 is the first deploy of that name.
    pub number: u32,
    /// What it is.
    pub revision: Revision,
    /// When its deploy was acknowledged.
    pub deployed_at: SystemTime,
}

impl Store {
    /// Keeps the function's revision as its newest one, and the function in place of the one of its
    /// name, both or none. Returns the revision's number; that in `function` does not count. Of the
    /// earlier revisions, the `keep - 1` newest stay.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn add_revision(&self, function: &Function, keep: u32) -> Result<u32, StoreError> {
        let columns = Columns::of(&function.name, &function.revision)?;
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let number = add(&transaction, function, &columns)?;
            function::put(&transaction, function, number, &columns)?;
            prune(&transaction, &function.name, keep)?;
            transaction.commit()?;
            Ok(number)
        })
    }

    /// The same of the revision of a `canary`, which the function has from then on; the one that
    /// answers stays. Returns the function as it is then.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn add_canary(
        &self,
        mut function: Function,
        mut canary: Canary,
        keep: u32,
    ) -> Result<Function, StoreError> {
        let columns = Columns::of(&function.name, &function.revision)?;
        let added = Columns::of(&function.name, &canary.revision)?;
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            canary.number = add(&transaction, &function, &added)?;
            function.canary = Some(Box::new(canary));
            function::put(&transaction, &function, function.number, &columns)?;
            prune(&transaction, &function.name, keep)?;
            transaction.commit()?;
            Ok(function)
        })
    }

    /// The revisions of `name` that are kept, newest first. A row that somebody damaged by hand is
    /// reported in the log and left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn revisions(&self, name: &FunctionName) -> Result<Vec<KeptRevision>, StoreError> {
        let rows: Vec<(u32, String, Columns)> = self.with(|connection| {
            connection
                .prepare(&format!(
                    "SELECT number, deployed_at, {COLUMNS} FROM revisions
                     WHERE namespace = ?1 AND function = ?2 ORDER BY number DESC"
                ))?
                .query_map([name.namespace(), name.name()], |row| {
                    Ok((row.get(0)?, row.get(1)?, Columns::read(row, 2)?))
                })?
                .collect()
        })?;
        let whose = name.qualified();
        let readable = rows
            .into_iter()
            .filter_map(|(number, deployed_at, columns)| {
                let kept = read_time(&whose, "deployed_at", &deployed_at).and_then(|deployed_at| {
                    Ok(KeptRevision {
                        number,
                        revision: columns.revision(&whose)?,
                        deployed_at,
                    })
                });
                kept.inspect_err(|error| tracing::error!("revision {number} is left out: {error}"))
                    .ok()
            });
        Ok(readable.collect())
    }

    /// The bundles that functions and their kept revisions need, and for an hour those that functions
    /// ran when they were removed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn needed_bundles(&self) -> Result<BTreeSet<String>, StoreError> {
        self.with(|connection| {
            connection
                .prepare(
                    "SELECT bundle FROM functions UNION SELECT bundle FROM revisions
                     UNION SELECT bundle FROM removed_bundles WHERE abs(?1 - removed_at) < ?2",
                )?
                .query_map([unix_now(), AFTER_REMOVAL], |row| row.get(0))?
                .collect()
        })
    }

    /// How the images of functions and of their kept revisions are run. What somebody damaged by
    /// hand is left out.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn needed_images(&self) -> Result<Vec<Run>, StoreError> {
        let runs: Vec<String> = self.with(|connection| {
            connection
                .prepare(
                    "SELECT run FROM functions WHERE bundle = ''
                     UNION SELECT run FROM revisions WHERE bundle = ''",
                )?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        let runs = runs.iter().filter_map(|run| json::from_str(run).ok());
        Ok(runs.collect())
    }
}

/// A revision as it stands in a row.
pub(super) struct Columns {
    digest: String,
    bundle: String,
    language: String,
    run: String,
    settings: String,
    built_at: String,
}

impl Columns {
    pub(super) fn of(name: &FunctionName, revision: &Revision) -> Result<Self, StoreError> {
        let text =
            |field, text: json::Result<String>| text.map_err(|_| damaged(&name.to_string(), field));
        Ok(Self {
            digest: revision.digest.clone(),
            bundle: revision.bundle.clone(),
            language: revision.language.clone(),
            run: text("run", json::to_string(&revision.run))?,
            settings: text("settings", json::to_string(&revision.settings))?,
            built_at: to_text(revision.built_at),
        })
    }

    /// From the column numbered `first` on.
    pub(super) fn read(row: &Row<'_>, first: usize) -> rusqlite::Result<Self> {
        Ok(Self {
            digest: row.get(first)?,
            bundle: row.get(first + 1)?,
            language: row.get(first + 2)?,
            run: row.get(first + 3)?,
            settings: row.get(first + 4)?,
            built_at: row.get(first + 5)?,
        })
    }

    /// The revision of the function called `whose`.
    pub(super) fn revision(self, whose: &str) -> Result<Revision, StoreError> {
        Ok(Revision {
            run: json::from_str(&self.run).map_err(|_| damaged(whose, "run"))?,
            settings: json::from_str(&self.settings).map_err(|_| damaged(whose, "settings"))?,
            built_at: read_time(whose, "built_at", &self.built_at)?,
            digest: self.digest,
            bundle: self.bundle,
            language: self.language,
        })
    }

    /// In the order of [`COLUMNS`].
    pub(super) fn values(&self) -> [&String; 6] {
        [
            &self.digest,
            &self.bundle,
            &self.language,
            &self.run,
            &self.settings,
            &self.built_at,
        ]
    }
}

/// Notes what the function runs that is about to be removed.
pub(super) fn note_removal(connection: &Connection, whose: [&str; 2]) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM removed_bundles WHERE abs(?1 - removed_at) >= ?2",
        [unix_now(), AFTER_REMOVAL],
    )?;
    connection
        .execute(
            "INSERT INTO removed_bundles (bundle, removed_at)
             SELECT bundle, ?3 FROM functions WHERE namespace = ?1 AND name = ?2 AND bundle <> ''
             ON CONFLICT (bundle) DO UPDATE SET removed_at = excluded.removed_at",
            params![whose[0], whose[1], unix_now()],
        )
        .map(drop)
}

/// The newest one is always kept, so that no number comes twice.
fn next_number(connection: &Connection, name: &FunctionName) -> rusqlite::Result<u32> {
    connection.query_row(
        "SELECT coalesce(max(number), 0) + 1 FROM revisions WHERE namespace = ?1 AND function = ?2",
        [name.namespace(), name.name()],
        |row| row.get(0),
    )
}

/// Takes away all but the newest `keep` of a function, and those that answer its calls.
fn prune(connection: &Connection, name: &FunctionName, keep: u32) -> rusqlite::Result<()> {
    connection
        .execute(
            "DELETE FROM revisions WHERE namespace = ?1 AND function = ?2 AND number NOT IN (
                 SELECT number FROM revisions WHERE namespace = ?1 AND function = ?2
                 ORDER BY number DESC LIMIT max(?3, 1))
             AND number NOT IN (
                 SELECT number FROM functions WHERE namespace = ?1 AND name = ?2)",
            params![name.namespace(), name.name(), keep],
        )
        .map(drop)
}

/// Writes the row of a new revision of the function, and returns its number.
fn add(connection: &Connection, function: &Function, columns: &Columns) -> rusqlite::Result<u32> {
    let number = next_number(connection, &function.name)?;
    let [digest, bundle, language, run, settings, built_at] = columns.values();
    let sql = format!(
        "INSERT INTO revisions (namespace, function, number, deployed_at, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
    );
    connection
        .execute(
            &sql,
            params![
                function.name.namespace(),
                function.name.name(),
                number,
                to_text(function.updated_at),
                digest,
                bundle,
                language,
                run,
                settings,
                built_at,
            ],
        )
        .map(|_| number)
}

pub(super) fn read_time(
    whose: &str,
    field: &'static str,
    text: &str,
) -> Result<SystemTime, StoreError> {
    humantime::parse_rfc3339_weak(text).map_err(|_| damaged(whose, field))
}

pub(super) fn damaged(whose: &str, field: &'static str) -> StoreError {
    StoreError::Damaged {
        function: whose.to_owned(),
        field,
    }
}
