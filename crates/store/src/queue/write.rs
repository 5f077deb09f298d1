use std::sync::Arc;

use hob_model::FunctionName;
use rusqlite::{Connection, OptionalExtension, params};

use super::{Attempt, CallQueue, CallRow, CallState, Ending, NewCall, Next, call::to_json};
use crate::StoreError;

/// Whoever waits for a change of a call.
type Told<T> = Result<T, StoreError>;

impl CallQueue {
    /// Takes a call.
    pub fn take(&self, call: NewCall, done: impl FnOnce(Told<CallRow>) + Send + 'static) {
        let headers = to_json(&call.headers);
        let insert = format!(
            "INSERT INTO calls (id, namespace, function, state, taken_at, due_at, callback, target,
                 headers, body)
             VALUES (?1, ?2, ?3, 'waiting', ?4, ?4, ?5, ?6, ?7, ?8) RETURNING {}",
            CallRow::COLUMNS
        );
        let work = move |connection: &Connection| {
            connection.prepare_cached(&insert)?.query_row(
                params![
                    call.id,
                    call.function.namespace(),
                    call.function.name(),
                    call.taken_at,
                    call.callback,
                    call.target,
                    headers,
                    call.body,
                ],
                CallRow::read,
            )
        };
        self.0.commits.submit(work, done);
    }

    /// Writes down how an attempt at the call numbered `seq` went, and forgets the calls of
    /// `forget`, which have ended. `None` when somebody has dropped the call.
    pub fn settle(
        &self,
        seq: i64,
        attempt: Arc<Attempt>,
        forget: Vec<i64>,
        done: impl FnOnce(Told<Option<CallRow>>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            forget_all(connection, &forget)?;
            match &attempt.next {
                Next::Again(due_at) => again(connection, seq, &attempt, *due_at),
                Next::End(ending) => end(connection, seq, &attempt, ending),
            }
        };
        self.0.commits.submit(work, done);
    }

    /// Writes down how an attempt to tell of the end of the call numbered `seq` went; `again` is
    /// when the next one is due, in milliseconds since 1970.
    pub fn told(
        &self,
        seq: i64,
        problem: Option<String>,
        again: Option<i64>,
        done: impl FnOnce(Told<Option<CallRow>>) + Send + 'static,
    ) {
        let update = format!(
            "UPDATE calls SET callback_attempts = callback_attempts + 1, callback_problem = ?2,
                 due_at = coalesce(?3, due_at),
                 state = CASE WHEN ?3 IS NOT NULL THEN 'callback'
                              WHEN problem IS NULL THEN 'done' ELSE 'dead' END
             WHERE seq = ?1 AND state = 'callback' RETURNING {}",
            CallRow::COLUMNS
        );
        let work = move |connection: &Connection| {
            connection
                .prepare_cached(&update)?
                .query_row(params![seq, problem, again], CallRow::read)
                .optional()
        };
        self.0.commits.submit(work, done);
    }

    /// Forgets calls that have ended.
    pub fn forget(&self, forget: Vec<i64>, done: impl FnOnce(Told<()>) + Send + 'static) {
        let work = move |connection: &Connection| forget_all(connection, &forget);
        self.0.commits.submit(work, done);
    }

    /// Drops the newest call of this id, of one function or of all, wherever it stands, and tells
    /// what it was.
    pub fn drop_call(
        &self,
        id: String,
        function: Option<FunctionName>,
        done: impl FnOnce(Told<Option<CallRow>>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            let found = newest(connection, &id, function.as_ref())?;
            if let Some(row) = &found {
                drop_all(connection, &[row.seq])?;
            }
            Ok(found)
        };
        self.0.commits.submit(work, done);
    }

    /// Drops calls that stand at `state` with numbers above `after`, the lowest first, of one
    /// function or of all. Tells what they were.
    pub fn drop_many(
        &self,
        state: CallState,
        function: Option<FunctionName>,
        after: i64,
        limit: u32,
        done: impl FnOnce(Told<Vec<CallRow>>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            let rows = standing(connection, state, function.as_ref(), after, limit)?;
            let seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
            drop_all(connection, &seqs)?;
            Ok(rows)
        };
        self.0.commits.submit(work, done);
    }

    /// Has the newest dead letter of this id made anew, of one function or of all. Tells what it
    /// was and what it is; where there is none, what the newest call of this id is.
    pub fn retry_call(
        &self,
        id: String,
        function: Option<FunctionName>,
        now: i64,
        done: impl FnOnce(Told<Option<(CallRow, Option<CallRow>)>>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            let Some(was) = newest_dead_first(connection, &id, function.as_ref())? else {
                return Ok(None);
            };
            let is = match was.state {
                CallState::Dead => Some(revive(connection, was.seq, now)?),
                _ => None,
            };
            Ok(Some((was, is)))
        };
        self.0.commits.submit(work, done);
    }

    /// Has dead letters with numbers above `after` made anew, the lowest first, of one function or of
    /// all. Tells what they were and what they are.
    pub fn retry_dead(
        &self,
        function: Option<FunctionName>,
        after: i64,
        limit: u32,
        now: i64,
        done: impl FnOnce(Told<Vec<(CallRow, CallRow)>>) + Send + 'static,
    ) {
        let work = move |connection: &Connection| {
            let rows = standing(connection, CallState::Dead, function.as_ref(), after, limit)?;
            let revived = rows.into_iter().map(|was| {
                let is = revive(connection, was.seq, now)?;
                Ok((was, is))
            });
            revived.collect()
        };
        self.0.commits.submit(work, done);
    }
}

fn again(
    connection: &Connection,
    seq: i64,
    attempt: &Attempt,
    due_at: i64,
) -> rusqlite::Result<Option<CallRow>> {
    let update = format!(
        "UPDATE calls SET attempts = attempts + (?2 IS NOT NULL), status = ?2, end = ?3, millis = ?4,
             problem = ?5, due_at = ?6
         WHERE seq = ?1 AND state = 'waiting' RETURNING {}",
        CallRow::COLUMNS
    );
    let Attempt {
        status,
        end,
        millis,
        problem,
        ..
    } = attempt;
    connection
        .prepare_cached(&update)?
        .query_row(
            params![seq, status, end, millis, problem, due_at],
            CallRow::read,
        )
        .optional()
}

/// The request of a call that went well is not needed any more; that of a dead letter is.
fn end(
    connection: &Connection,
    seq: i64,
    attempt: &Attempt,
    ending: &Ending,
) -> rusqlite::Result<Option<CallRow>> {
    let update = format!(
        "UPDATE calls SET attempts = attempts + (?2 IS NOT NULL), status = ?2, end = ?3, millis = ?4,
             problem = ?5, state = ?6, due_at = ?7, ended_at = ?7, answer = ?8, result = ?9,
             headers = CASE WHEN ?5 IS NULL THEN x'' ELSE headers END,
             body = CASE WHEN ?5 IS NULL THEN x'' ELSE body END
         WHERE seq = ?1 AND state = 'waiting' RETURNING {}",
        CallRow::COLUMNS
    );
    let Attempt {
        status,
        end,
        millis,
        problem,
        ..
    } = attempt;
    let state = match (ending.callback, problem) {
        (true, _) => CallState::Callback,
        (false, None) => CallState::Done,
        (false, Some(_)) => CallState::Dead,
    };
    connection
        .prepare_cached(&update)?
        .query_row(
            params![
                seq,
                status,
                end,
                millis,
                problem,
                state,
                ending.at,
                to_json(&ending.answer),
                ending.result
            ],
            CallRow::read,
        )
        .optional()
}

/// The newest call of an id.
fn newest(
    connection: &Connection,
    id: &str,
    function: Option<&FunctionName>,
) -> rusqlite::Result<Option<CallRow>> {
    first(connection, id, function, "seq DESC")
}

/// The newest dead letter of an id, else its newest call: a chain of callbacks shares one id.
fn newest_dead_first(
    connection: &Connection,
    id: &str,
    function: Option<&FunctionName>,
) -> rusqlite::Result<Option<CallRow>> {
    first(connection, id, function, "state = 'dead' DESC, seq DESC")
}

fn first(
    connection: &Connection,
    id: &str,
    function: Option<&FunctionName>,
    order: &str,
) -> rusqlite::Result<Option<CallRow>> {
    let select = format!(
        "SELECT {} FROM calls
         WHERE id = ?1 AND (?2 IS NULL OR (namespace = ?2 AND function = ?3))
         ORDER BY {order} LIMIT 1",
        CallRow::COLUMNS
    );
    let mut statement = connection.prepare_cached(&select)?;
    let asked = params![
        id,
        function.map(FunctionName::namespace),
        function.map(FunctionName::name)
    ];
    statement.query_row(asked, CallRow::read).optional()
}

fn standing(
    connection: &Connection,
    state: CallState,
    function: Option<&FunctionName>,
    after: i64,
    limit: u32,
) -> rusqlite::Result<Vec<CallRow>> {
    let select = format!(
        "SELECT {} FROM calls
         WHERE state = ?5 AND seq > ?3
             AND (?1 IS NULL OR (namespace = ?1 AND function = ?2))
         ORDER BY seq LIMIT ?4",
        CallRow::COLUMNS
    );
    let mut statement = connection.prepare_cached(&select)?;
    let asked = params![
        function.map(FunctionName::namespace),
        function.map(FunctionName::name),
        after,
        limit,
        state
    ];
    statement.query_map(asked, CallRow::read)?.collect()
}

/// As if it had just been taken, but at its old place in the order.
fn revive(connection: &Connection, seq: i64, now: i64) -> rusqlite::Result<CallRow> {
    let update = format!(
        "UPDATE calls SET state = 'waiting', due_at = ?2, ended_at = NULL, attempts = 0,
             status = NULL, end = NULL, millis = NULL, problem = NULL, callback_attempts = 0,
             callback_problem = NULL, answer = NULL, result = NULL
         WHERE seq = ?1 RETURNING {}",
        CallRow::COLUMNS
    );
    let mut statement = connection.prepare_cached(&update)?;
    statement.query_row(params![seq, now], CallRow::read)
}

/// Of calls that have ended: one that somebody had made anew meanwhile stays.
fn forget_all(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<()> {
    let over = "DELETE FROM calls WHERE seq = ?1 AND state IN ('done', 'dead')";
    delete(connection, over, seqs)
}

fn drop_all(connection: &Connection, seqs: &[i64]) -> rusqlite::Result<()> {
    delete(connection, "DELETE FROM calls WHERE seq = ?1", seqs)
}

fn delete(connection: &Connection, statement: &str, seqs: &[i64]) -> rusqlite::Result<()> {
    if seqs.is_empty() {
        return Ok(());
    }
    let mut delete = connection.prepare_cached(statement)?;
    for seq in seqs {
        delete.execute([seq])?;
    }
    Ok(())
}
