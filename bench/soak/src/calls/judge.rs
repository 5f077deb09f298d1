use http::Method;
use serde::Serialize;

use super::{
    chronicle::Chronicle,
    sample::{Attempt, Reply, Sample},
};

/// Whether hob sends an idempotent call to another replica when its own dies under it.
const GETS_ARE_TRIED_AGAIN: bool = false;

/// What became of a call, and by whose fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Class {
    /// By a revision that was deployed then.
    Answered,
    /// hob was killed under it; sent once more, it was answered.
    AnsweredAgain,
    /// Its replica was killed while it ran, and the answer says so.
    ReplicaKilled,
    /// No connection.
    Refused,
    /// The connection broke, and nobody had killed anything under it.
    Broken,
    /// No answer in time.
    Late,
    /// An answer that is no success.
    Status,
    /// An answer that is not the one to this call.
    Wrong,
    /// By a revision that was not deployed then.
    Revision,
    /// hob was killed under it; sent once more, it was not answered.
    NotAnsweredAgain,
}

impl Class {
    pub(super) const ALL: [Self; 10] = [
        Self::Answered,
        Self::AnsweredAgain,
        Self::ReplicaKilled,
        Self::Refused,
        Self::Broken,
        Self::Late,
        Self::Status,
        Self::Wrong,
        Self::Revision,
        Self::NotAnsweredAgain,
    ];

    /// Whether it was a failure that the call's own replica has no part in: none is allowed.
    pub(super) fn counts(self) -> bool {
        !self.is_answered() && self != Self::ReplicaKilled
    }

    pub(super) fn is_answered(self) -> bool {
        matches!(self, Self::Answered | Self::AnsweredAgain)
    }

    /// What it is called in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AnsweredAgain => "hob was killed under it; sent once more, it was answered",
            Self::ReplicaKilled => "its replica was killed under it (502, X-Hob-End: exit)",
            Self::Refused => "connection refused",
            Self::Broken => "connection broke",
            Self::Late => "no answer in time",
            Self::Status => "another status than 200",
            Self::Wrong => "a wrong body",
            Self::Revision => "answered by a revision that was not deployed",
            Self::NotAnsweredAgain => "hob was killed under it; sent once more, it failed",
        }
    }
}

/// What became of a call, by what was done while it ran.
pub(super) fn judge(call: &Sample, chronicle: &Chronicle) -> Class {
    let class = attempt(call, &call.first, chronicle);
    match &call.again {
        Some(again) if chronicle.hob_died_under(&call.first) => {
            match attempt(call, again, chronicle) {
                Class::Answered => Class::AnsweredAgain,
                _ => Class::NotAnsweredAgain,
            }
        }
        _ => class,
    }
}

fn attempt(call: &Sample, attempt: &Attempt, chronicle: &Chronicle) -> Class {
    let died = || chronicle.replica_died_under(call.function, &attempt.span);
    match &attempt.reply {
        Reply::Right { revision, .. } => {
            match chronicle.may_answer(call.function, *revision, &attempt.span) {
                true => Class::Answered,
                false => Class::Revision,
            }
        }
        Reply::Other { status: 200, .. } => Class::Wrong,
        Reply::Other { status, end, .. } => {
            let tried_again = GETS_ARE_TRIED_AGAIN && call.method == Method::GET;
            match *status == 502 && end == "exit" && !tried_again && died() {
                true => Class::ReplicaKilled,
                false => Class::Status,
            }
        }
        Reply::Refused(_) => Class::Refused,
        Reply::Broken(_) => Class::Broken,
        Reply::Late => Class::Late,
    }
}
