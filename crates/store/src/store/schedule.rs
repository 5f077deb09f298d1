use hob_model::{FunctionName, Label};
use rusqlite::{Row, params};

use super::Store;
use crate::StoreError;

/// Where a schedule of a function stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// Whose it is.
    pub function: FunctionName,
    /// As it is shown: `CRON_TZ=Europe/Berlin 0 9 * * 1-5`.
    pub schedule: String,
    /// Runs up to here are settled.
    pub since: i64,
    /// The time that the last run was for.
    pub last_run: Option<i64>,
    /// Its call id.
    pub last_call: Option<String>,
}

impl Store {
    /// Every schedule, sorted by function.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn schedules(&self) -> Result<Vec<ScheduleRow>, StoreError> {
        let rows: Vec<Option<ScheduleRow>> = self.with(|connection| {
            connection
                .prepare(
                    "SELECT namespace, function, schedule, since, last_run, last_call
                     FROM schedules ORDER BY namespace, function, schedule",
                )?
                .query_map([], read)?
                .collect()
        })?;
        // A name that somebody damaged by hand is nobody's.
        Ok(rows.into_iter().flatten().collect())
    }

    /// Makes `schedules` all that `function` has: new ones are settled up to `since`, and those
    /// that it had stay as they are. Returns them.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn set_schedules(
        &self,
        function: &FunctionName,
        schedules: &[String],
        since: i64,
    ) -> Result<Vec<ScheduleRow>, StoreError> {
        let whose = [function.namespace(), function.name()];
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let rows = rows_of(&transaction, whose)?;
            for row in rows.iter().filter(|row| !schedules.contains(&row.schedule)) {
                transaction.execute(
                    "DELETE FROM schedules WHERE namespace = ?1 AND function = ?2 AND schedule = ?3",
                    params![whose[0], whose[1], row.schedule],
                )?;
            }
            for schedule in schedules {
                transaction.execute(
                    "INSERT INTO schedules (namespace, function, schedule, since)
                     VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
                    params![whose[0], whose[1], schedule, since],
                )?;
            }
            let rows = rows_of(&transaction, whose)?;
            transaction.commit()?;
            Ok(rows)
        })
    }

    /// Notes where these schedules stand; those that are gone stay gone.
    ///
    /// # Errors
    /// When the database cannot be written; then it is as it was.
    pub fn settle_schedules(&self, rows: &[ScheduleRow]) -> Result<(), StoreError> {
        self.with(|connection| {
            let transaction = connection.unchecked_transaction()?;
            let mut update = transaction.prepare(
                "UPDATE schedules SET since = ?4, last_run = coalesce(?5, last_run),
                     last_call = coalesce(?6, last_call)
                 WHERE namespace = ?1 AND function = ?2 AND schedule = ?3",
            )?;
            for row in rows {
                update.execute(params![
                    row.function.namespace(),
                    row.function.name(),
                    row.schedule,
                    row.since,
                    row.last_run,
                    row.last_call,
                ])?;
            }
            drop(update);
            transaction.commit()
        })
    }
}

fn rows_of(
    connection: &rusqlite::Connection,
    whose: [&str; 2],
) -> rusqlite::Result<Vec<ScheduleRow>> {
    let rows: Vec<Option<ScheduleRow>> = connection
        .prepare(
            "SELECT namespace, function, schedule, since, last_run, last_call
             FROM schedules WHERE namespace = ?1 AND function = ?2 ORDER BY schedule",
        )?
        .query_map(whose, read)?
        .collect::<rusqlite::Result<_>>()?;
    Ok(rows.into_iter().flatten().collect())
}

fn read(row: &Row<'_>) -> rusqlite::Result<Option<ScheduleRow>> {
    let label = |index| Ok::<_, rusqlite::Error>(row.get::<_, String>(index)?.parse::<Label>());
    let (Ok(namespace), Ok(name)) = (label(0)?, label(1)?) else {
        return Ok(None);
    };
    Ok(Some(ScheduleRow {
        function: FunctionName::new(name, namespace),
        schedule: row.get(2)?,
        since: row.get(3)?,
        last_run: row.get(4)?,
        last_call: row.get(5)?,
    }))
}
