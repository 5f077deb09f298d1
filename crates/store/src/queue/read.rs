use hob_model::FunctionName;
use rusqlite::{OptionalExtension, Row, params};

use super::{
    CallQueue, CallRecord, CallRow, CallToMake, CallbackToMake, Fields, Listing, call::fields,
};
use crate::StoreError;

impl CallQueue {
    /// Every call, in the order in which they were taken. A row that somebody damaged by hand is
    /// left out and named in the log.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn rows(&self) -> Result<Vec<CallRow>, StoreError> {
        self.read(|connection| {
            let columns = CallRow::COLUMNS;
            let mut statement =
                connection.prepare(&format!("SELECT {columns} FROM calls ORDER BY seq"))?;
            let rows =
                statement.query_map([], |row| Ok((row.get::<_, i64>(0)?, CallRow::read(row))))?;
            let mut readable = Vec::new();
            for row in rows {
                match row? {
                    (_, Ok(row)) => readable.push(row),
                    (seq, Err(error)) => tracing::error!("left out call number {seq}: {error}"),
                }
            }
            Ok(readable)
        })
    }

    /// The latest time that anything happened to a call, as far as the table tells: the machine's
    /// clock has said so once. In milliseconds since 1970; 0 without calls.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn latest(&self) -> Result<i64, StoreError> {
        self.read(|connection| {
            connection.query_row(
                "SELECT coalesce(max(max(taken_at, coalesce(ended_at, 0))), 0) FROM calls",
                [],
                |row| row.get(0),
            )
        })
    }

    /// The call numbered `seq`, if it is still to be made.
    ///
    /// # Errors
    /// When the database or the row cannot be read.
    pub fn to_make(&self, seq: i64) -> Result<Option<CallToMake>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(CallToMake {
                id: row.get(0)?,
                target: row.get(1)?,
                headers: fields(row, 2)?,
                body: row.get(3)?,
                attempts: row.get(4)?,
                has_callback: row.get(5)?,
            })
        };
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, target, headers, body, attempts, callback IS NOT NULL
                     FROM calls WHERE seq = ?1 AND state = 'waiting'",
                )?
                .query_row([seq], read)
                .optional()
        })
    }

    /// The end of the call numbered `seq`, if somebody is still to be told.
    ///
    /// # Errors
    /// When the database or the row cannot be read.
    pub fn to_tell(&self, seq: i64) -> Result<Option<CallbackToMake>, StoreError> {
        let read = |row: &Row<'_>| {
            Ok(CallbackToMake {
                id: row.get(0)?,
                url: row.get(1)?,
                tries: row.get(2)?,
                attempts: row.get(3)?,
                status: row.get(4)?,
                end: row.get(5)?,
                millis: row.get(6)?,
                answer: fields(row, 7)?,
                result: row.get::<_, Option<_>>(8)?.unwrap_or_default(),
            })
        };
        self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, callback, callback_attempts, attempts, status, end, millis,
                         answer, result
                     FROM calls WHERE seq = ?1 AND state = 'callback'",
                )?
                .query_row([seq], read)
                .optional()
        })
    }

    /// The newest call of this id, of one function or of all, with its answer: callers may use an
    /// id twice.
    ///
    /// # Errors
    /// When the database or the row cannot be read.
    pub fn find(
        &self,
        id: &str,
        function: Option<&FunctionName>,
    ) -> Result<Option<(CallRecord, Fields, Vec<u8>)>, StoreError> {
        let columns = CallRecord::COLUMNS;
        let select = format!(
            "SELECT {columns}, answer, result FROM calls
             WHERE id = ?1 AND (?2 IS NULL OR (namespace = ?2 AND function = ?3))
             ORDER BY seq DESC LIMIT 1"
        );
        let (namespace, name) = (
            function.map(FunctionName::namespace),
            function.map(FunctionName::name),
        );
        self.read(|connection| {
            connection
                .prepare(&select)?
                .query_row(params![id, namespace, name], |row| {
                    let record = CallRecord::read(row)?;
                    let result: Option<Vec<u8>> = row.get(18)?;
                    Ok((record, fields(row, 17)?, result.unwrap_or_default()))
                })
                .optional()
        })
    }

    /// The calls of these numbers, as far as they are there.
    ///
    /// # Errors
    /// When the database or a row cannot be read.
    pub fn records(&self, seqs: &[i64]) -> Result<Vec<CallRecord>, StoreError> {
        let columns = CallRecord::COLUMNS;
        self.read(|connection| {
            let select = format!("SELECT {columns} FROM calls WHERE seq = ?1");
            let mut select = connection.prepare(&select)?;
            let mut records = Vec::new();
            for seq in seqs {
                records.extend(select.query_row([seq], CallRecord::read).optional()?);
            }
            Ok(records)
        })
    }

    /// Calls, the newest first, without those whose rows somebody damaged.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn list(&self, asked: &Listing) -> Result<Vec<CallRecord>, StoreError> {
        let columns = CallRecord::COLUMNS;
        let select = format!(
            "SELECT {columns} FROM calls
             WHERE (?1 IS NULL OR state = ?1)
                 AND (?2 IS NULL OR (namespace = ?2 AND function = ?3))
             ORDER BY seq DESC LIMIT ?4"
        );
        let function = asked.function.as_ref();
        self.read(|connection| {
            let mut select = connection.prepare(&select)?;
            let asked = params![
                asked.state,
                function.map(|name| name.namespace()),
                function.map(|name| name.name()),
                asked.limit
            ];
            let mut rows = select.query(asked)?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                records.extend(CallRecord::read(row).ok());
            }
            Ok(records)
        })
    }
}
