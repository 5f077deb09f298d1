use hob_model::FunctionName;
use rusqlite::params;

use super::Store;
use crate::StoreError;

/// An asynchronous call that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its `X-Call-Id`.
    pub id: String,
    /// Whose call it is.
    pub function: FunctionName,
    /// Path and query behind the function's name: empty, or `/path?query`.
    pub target: String,
    /// The fields of the request, in their order.
    pub headers: Vec<(String, String)>,
    /// The body of the request.
    pub body: Vec<u8>,
    /// Where the answer is sent.
    pub callback: Option<String>,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at: i64,
}

impl Store {
    /// Takes a call; on return it is on the disk.
    ///
    /// # Errors
    /// When the database cannot be written; then the call was not taken.
    pub fn add_call(&self, call: &NewCall) -> Result<(), StoreError> {
        let headers = serde_json::to_vec(&call.headers).unwrap_or_default();
        self.with(|connection| {
            connection
                .prepare(
                    "INSERT INTO calls (id, namespace, function, state, taken_at, due_at,
                         callback, target, headers, body)
                     VALUES (?1, ?2, ?3, 'waiting', ?4, ?4, ?5, ?6, ?7, ?8)",
                )?
                .execute(params![
                    call.id,
                    call.function.namespace(),
                    call.function.name(),
                    call.taken_at,
                    call.callback,
                    call.target,
                    headers,
                    call.body,
                ])
        })
        .map(drop)
    }
}
