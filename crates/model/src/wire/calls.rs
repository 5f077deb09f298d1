use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::FunctionName;

/// Where an asynchronous call stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallPhase {
    /// It is to be made, again perhaps.
    Waiting,
    /// It is being made.
    Running,
    /// It was made, and its answer is to be sent to its callback.
    Callback,
    /// It was made.
    Done,
    /// It failed for good: a dead letter.
    Dead,
}

impl CallPhase {
    /// The word in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Callback => "callback",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// An asynchronous call, as `hob queue list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallSummary {
    /// Its `X-Call-Id`. Callers may use one twice.
    pub id: String,
    /// Whose call it is.
    pub function: FunctionName,
    /// Where it stands.
    pub state: CallPhase,
    /// Path and query behind the function's name.
    pub path: String,
    /// When it was taken.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub taken_at: SystemTime,
    /// When it or its callback is next tried; `None` once all is over.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub due_at: Option<SystemTime>,
    /// When its last attempt ended, if it was the last.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub ended_at: Option<SystemTime>,
    /// Attempts so far.
    pub attempts: u32,
    /// The last attempt's status code; 503 where nobody answered.
    pub status: Option<u16>,
    /// The last attempt's end reason.
    pub end: Option<String>,
    /// How long the last attempt took, in milliseconds.
    pub millis: Option<u64>,
    /// Why the last attempt failed, in words.
    pub problem: Option<String>,
    /// Where the answer goes.
    pub callback: Option<CallCallback>,
}

/// Where the answer of a call goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallCallback {
    /// The URL.
    pub url: String,
    /// Attempts to send it.
    pub attempts: u32,
    /// Why the last of them failed, in words.
    pub problem: Option<String>,
}

/// An asynchronous call, as `hob queue show` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallDetail {
    /// What `hob queue list` shows.
    #[serde(flatten)]
    pub summary: CallSummary,
    /// The answer to the last attempt; `None` until the call has ended.
    pub answer: Option<CallAnswer>,
}

/// What a function answered to an asynchronous call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallAnswer {
    /// Its fields, in their order.
    pub headers: Vec<(String, String)>,
    /// Its body, where it is UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its body, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Whether the body was longer than what is kept.
    pub cut: bool,
}

/// The answer to `GET /hob/v1/queue`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueList {
    /// Calls, the newest first.
    pub calls: Vec<CallSummary>,
    /// Whether there are more of them.
    pub more: bool,
    /// What the queue holds, function by function.
    pub functions: Vec<QueueDepth>,
}

/// What the queue holds of one function, and what became of its calls since hob started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QueueDepth {
    /// Whose calls they are.
    pub function: FunctionName,
    /// To be made, at once or later.
    pub waiting: u64,
    /// Being made.
    pub running: u64,
    /// Made, with an answer that is to be sent.
    pub callbacks: u64,
    /// Dead letters.
    pub dead: u64,
    /// Taken since hob started.
    pub taken: u64,
    /// Made since hob started.
    pub done: u64,
    /// Attempts since hob started after which another one was due.
    pub retried: u64,
    /// Dead letters that came since hob started.
    pub died: u64,
}

/// How many calls were retried or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallsChanged {
    /// So many.
    pub calls: u64,
}
