use hob_model::FunctionName;
use rusqlite::{
    Row, ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, Type, ValueRef},
};
use serde_json::Value;

/// Fields of a request or an answer, in their order: names, and values as they came.
pub type Fields = Vec<(String, Vec<u8>)>;

/// An asynchronous call that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// Its `X-Call-Id`.
    pub id: String,
    /// Whose call it is.
    pub function: FunctionName,
    /// Path and query behind the function's name: empty, or `/path?query`.
    pub target: String,
    /// The fields of the request.
    pub headers: Fields,
    /// The body of the request.
    pub body: Vec<u8>,
    /// Where the answer is sent.
    pub callback: Option<String>,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at: i64,
}

impl NewCall {
    /// About how much of the disk it takes, in bytes.
    pub fn bytes(&self) -> u64 {
        let fields = self.headers.iter();
        let fields: usize = fields.map(|(name, value)| name.len() + value.len()).sum();
        let callback = self.callback.as_ref().map_or(0, String::len);
        (fields + self.body.len() + self.id.len() + self.target.len() + callback) as u64
    }
}

/// Where a call stands on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// It is to be made, again perhaps.
    Waiting,
    /// It was made, and its answer is to be sent to somebody.
    Callback,
    /// It was made and all is over.
    Done,
    /// It failed for good: a dead letter, kept until somebody retries or drops it.
    Dead,
}

impl CallState {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Callback => "callback",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

impl ToSql for CallState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for CallState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let word = value.as_str()?;
        let all = [Self::Waiting, Self::Callback, Self::Done, Self::Dead];
        let found = all.into_iter().find(|state| state.as_str() == word);
        found.ok_or(FromSqlError::InvalidType)
    }
}

/// What has to be known of every call at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRow {
    /// Its number, in the order in which calls were taken.
    pub seq: i64,
    /// Whose call it is.
    pub function: FunctionName,
    /// Where it stands.
    pub state: CallState,
    /// When it or its callback is next tried, in milliseconds since 1970.
    pub due_at: i64,
    /// When it ended, in milliseconds since 1970; 0 while it has not.
    pub ended_at: i64,
    /// What it takes of the disk, in bytes.
    pub bytes: u64,
    /// Attempts so far.
    pub attempts: u32,
}

impl CallRow {
    pub(super) const COLUMNS: &str =
        "seq, namespace, function, state, due_at, coalesce(ended_at, 0),
        length(headers) + length(body) + coalesce(length(answer), 0) + coalesce(length(result), 0)
            + octet_length(id) + octet_length(target) + coalesce(octet_length(callback), 0),
        attempts";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            function: function(row, 1)?,
            state: row.get(3)?,
            due_at: row.get(4)?,
            ended_at: row.get(5)?,
            bytes: row.get::<_, i64>(6)?.unsigned_abs(),
            attempts: row.get(7)?,
        })
    }
}

/// A call with everything that it takes to make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallToMake {
    /// Its `X-Call-Id`.
    pub id: String,
    /// Path and query behind the function's name.
    pub target: String,
    /// The fields of the request.
    pub headers: Fields,
    /// The body of the request.
    pub body: Vec<u8>,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether somebody waits for the answer.
    pub has_callback: bool,
}

/// A call's end with everything that it takes to tell somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackToMake {
    /// The call's `X-Call-Id`.
    pub id: String,
    /// Where it goes.
    pub url: String,
    /// Attempts to tell so far.
    pub tries: u32,
    /// How often the call was tried.
    pub attempts: u32,
    /// The last attempt's status code; `None` when there was none.
    pub status: Option<u16>,
    /// The last attempt's end reason.
    pub end: String,
    /// How long the last attempt took, in milliseconds.
    pub millis: i64,
    /// The fields of the answer.
    pub answer: Fields,
    /// The body of the answer.
    pub result: Vec<u8>,
}

/// How one attempt at a call went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The status code, 503 where nobody answered; `None` when nothing was tried.
    pub status: Option<u16>,
    /// The end reason.
    pub end: String,
    /// How long it took, in milliseconds.
    pub millis: i64,
    /// Why it failed, in words.
    pub problem: Option<String>,
    /// What comes now.
    pub next: Next,
}

/// What comes after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another attempt at this time, in milliseconds since 1970.
    Again(i64),
    /// Nothing: this is the end.
    End(Ending),
}

/// The end of a call. A call that ends with a problem is or becomes a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// The fields of the last answer.
    pub answer: Fields,
    /// The body of the last answer.
    pub result: Vec<u8>,
    /// Whether somebody has to be told.
    pub callback: bool,
}

/// Everything about a call but its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord {
    /// Its number.
    pub seq: i64,
    /// Its `X-Call-Id`.
    pub id: String,
    /// Whose call it is.
    pub function: FunctionName,
    /// Where it stands.
    pub state: CallState,
    /// Path and query behind the function's name.
    pub target: String,
    /// When it was taken, in milliseconds since 1970.
    pub taken_at: i64,
    /// When it or its callback is next tried, in milliseconds since 1970.
    pub due_at: i64,
    /// When it ended, in milliseconds since 1970.
    pub ended_at: Option<i64>,
    /// Attempts so far.
    pub attempts: u32,
    /// The last attempt's status code.
    pub status: Option<u16>,
    /// The last attempt's end reason.
    pub end: Option<String>,
    /// How long the last attempt took, in milliseconds.
    pub millis: Option<i64>,
    /// Why it failed, in words.
    pub problem: Option<String>,
    /// Where the answer goes.
    pub callback: Option<String>,
    /// Attempts to send it there.
    pub callback_attempts: u32,
    /// Why that failed, in words.
    pub callback_problem: Option<String>,
}

impl CallRecord {
    pub(super) const COLUMNS: &str =
        "seq, id, namespace, function, state, target, taken_at, due_at, ended_at, attempts, status,
         end, millis, problem, callback, callback_attempts, callback_problem";

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            function: function(row, 2)?,
            state: row.get(4)?,
            target: row.get(5)?,
            taken_at: row.get(6)?,
            due_at: row.get(7)?,
            ended_at: row.get(8)?,
            attempts: row.get(9)?,
            status: row.get(10)?,
            end: row.get(11)?,
            millis: row.get(12)?,
            problem: row.get(13)?,
            callback: row.get(14)?,
            callback_attempts: row.get(15)?,
            callback_problem: row.get(16)?,
        })
    }
}

/// Which calls to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Only those that stand here.
    pub state: Option<CallState>,
    /// Only those of this function.
    pub function: Option<FunctionName>,
    /// Most of them.
    pub limit: u32,
}

/// The function named in two columns from `at` on: namespace, name.
fn function(row: &Row<'_>, at: usize) -> rusqlite::Result<FunctionName> {
    let label = |at| {
        let text: String = row.get(at)?;
        text.parse().map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(at, Type::Text, Box::new(error))
        })
    };
    Ok(FunctionName::new(label(at + 1)?, label(at)?))
}

/// Fields as they stand in the table: pairs of texts, with a value that is no UTF-8 as an array of
/// its bytes.
pub(super) fn fields(row: &Row<'_>, at: usize) -> rusqlite::Result<Fields> {
    let json: Option<Vec<u8>> = row.get(at)?;
    let Some(json) = json else {
        return Ok(Fields::new());
    };
    from_json(&json)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, Type::Blob, Box::new(error)))
}

fn from_json(json: &[u8]) -> serde_json::Result<Fields> {
    let pairs: Vec<(String, Value)> = serde_json::from_slice(json)?;
    let fields = pairs.into_iter().map(|(name, value)| match value {
        Value::String(text) => Ok((name, text.into_bytes())),
        bytes => Ok((name, serde_json::from_value(bytes)?)),
    });
    fields.collect()
}

/// The same, the other way. Texts and numbers always have a notation.
pub(super) fn to_json(fields: &Fields) -> Vec<u8> {
    let pairs = fields.iter().map(|(name, value)| {
        let value = match str::from_utf8(value) {
            Ok(text) => Value::from(text),
            Err(_) => Value::from(value.as_slice()),
        };
        (name, value)
    });
    serde_json::to_vec(&pairs.collect::<Vec<_>>()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_back_byte_for_byte() {
        let field = |name: &str, value: &[u8]| (name.to_owned(), value.to_vec());
        let fields = vec![
            field("a", "café".as_bytes()),
            field("a", b"caf\xe9"),
            field("b", b""),
        ];
        let json = to_json(&fields);
        let text = r#"[["a","café"],["a",[99,97,102,233]],["b",""]]"#;
        assert_eq!(json, text.as_bytes());
        assert_eq!(from_json(&json).expect("reads"), fields);
    }
}
