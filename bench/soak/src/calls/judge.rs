use http::Method;
use serde::Serialize;

use super::{
    chronicle::Chronicle,
    sample::{Attempt, Reply, Sample},
};

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
            // hob sends a call that can be made twice to another replica.
            let tried_again = call.method == Method::GET;
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{
        super::{functions::Function, sample::Span},
        *,
    };

    /// A call of a function that was deployed at 0 and killed from 100 to 110 ms, as hob was from
    /// 200 to 210.
    fn judged(method: Method, [opened, start, end]: [u64; 3], reply: Reply, again: bool) -> Class {
        let function = Function::all(false)[0];
        let mut chronicle = Chronicle::default();
        chronicle.deploys(function, 1);
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let span = |start, end| Span {
            start: at(start),
            end: at(end),
        };
        chronicle.replica_kills.push((function, span(100, 110)));
        chronicle.hob_kills.push(span(200, 210));
        let attempt = |reply, [opened, start, end]: [u64; 3]| Attempt {
            opened: Some(at(opened)),
            span: span(start, end),
            reply,
        };
        let first = attempt(reply, [opened, start, end]);
        let again = again.then(|| attempt(right(1), [end, end, end + 50]));
        let call = Sample {
            function,
            method,
            due: at(start),
            first,
            again,
        };
        judge(&call, &chronicle)
    }

    fn right(revision: u32) -> Reply {
        Reply::Right {
            revision,
            woken: false,
        }
    }

    fn broken() -> Reply {
        Reply::Broken("closed".to_owned())
    }

    fn gone() -> Reply {
        Reply::Other {
            status: 502,
            end: "exit".to_owned(),
            text: String::new(),
        }
    }

    #[test]
    fn only_a_kill_that_met_the_call_excuses_it() {
        let post = || Method::POST;
        let cases = [
            ([0, 50, 60], right(1), false, Class::Answered),
            ([0, 50, 60], right(2), false, Class::Revision),
            ([0, 90, 105], gone(), false, Class::ReplicaKilled),
            ([0, 120, 130], gone(), false, Class::Status),
            ([0, 190, 205], broken(), true, Class::AnsweredAgain),
            ([205, 205, 215], broken(), true, Class::AnsweredAgain),
            // The next hob had it.
            ([220, 220, 230], broken(), true, Class::Broken),
            ([0, 50, 60], broken(), true, Class::Broken),
            ([0, 190, 205], Reply::Late, false, Class::Late),
        ];
        for (times, reply, again, class) in cases {
            let what = format!("{times:?} {reply:?}");
            assert_eq!(judged(post(), times, reply, again), class, "{what}");
        }
    }
}
