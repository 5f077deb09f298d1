use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Fault, FunctionImage, FunctionSummary};
use crate::Share;

/// A revision of a function, as `hob revisions` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RevisionSummary {
    /// Which of the function's: 1 is the first deploy of the name, and it only grows.
    pub number: u32,
    /// Its digest. Revisions of one digest behave alike.
    pub digest: String,
    /// Where it stands.
    pub state: RevisionState,
    /// The share of the calls that it has as the canary, if it is that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Share>,
    /// Template, or `server`, or `image`.
    pub language: String,
    /// The image that it runs; `None` for folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<FunctionImage>,
    /// When its build ended.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub built_at: SystemTime,
    /// When its deploy was acknowledged; rolling back to it leaves that as it is.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub deployed_at: SystemTime,
}

/// Where a kept revision stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RevisionState {
    /// It answers the calls, but for those of a canary.
    Current,
    /// It has a share of the calls.
    Canary,
    /// It answers none, and can again.
    Kept,
}

/// `{"revision": 3}`, the body of a rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Number of the revision; else the canary ends if there is one, and if there is none, the
    /// newest of those before the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub revision: Option<u32>,
}

/// One line of the answer to a deploy, which is a stream of JSON lines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum DeployEvent {
    /// hob begins a step.
    Step {
        /// How far the deploy has come with it.
        stage: DeployStage,
        /// "python: installing requirements.txt".
        text: String,
    },
    /// A tool of the build, or the starting program, wrote a line.
    Output {
        /// The line, without its end.
        text: String,
    },
    /// The last line of a deploy that worked: the function answers calls.
    Done {
        /// As it is now.
        function: Box<FunctionSummary>,
        /// False when the folder was unchanged.
        changed: bool,
        /// From the end of the upload to this line, in milliseconds.
        millis: u64,
    },
    /// The last line of a deploy that did not; what ran before still runs.
    Failed {
        /// One line with the cause and the cure.
        message: String,
        /// Who is at fault.
        fault: Fault,
    },
}

/// How far a deploy has come that is neither done nor failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DeployStage {
    /// Another deploy of the function is under way.
    Waiting,
    /// The revision is made, or brought here.
    Building,
    /// Its replicas are started; no call goes to them before all are ready.
    Starting,
    /// What answered before takes no new calls.
    Draining,
}
