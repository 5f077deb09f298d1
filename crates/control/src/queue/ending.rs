//! How an attempt at a call ends, as it is written down.

use std::time::Duration;

use hob_model::{AsyncPolicy, EndReason};
use hob_store::{Attempt, Ending, Fields, Next};

use super::{
    after,
    answer::{Outcome, Verdict},
    millis, pause, unix_now,
};

/// The end of a call that cannot be made any more.
pub(super) fn not_made(problem: String, callback: bool) -> Attempt {
    Attempt {
        status: None,
        end: EndReason::Cancelled.to_string(),
        millis: 0,
        problem: Some(problem),
        next: Next::End(Ending {
            at: unix_now(),
            answer: Fields::new(),
            result: Vec::new(),
            callback,
        }),
    }
}

pub(super) fn has_result(attempt: &Attempt) -> bool {
    let Next::End(ending) = &attempt.next else {
        return false;
    };
    !(ending.answer.is_empty() && ending.result.is_empty())
}

/// Leaves of an answer what there is room for.
pub(super) fn shorten(attempt: &mut Attempt, room: u64) {
    let Next::End(ending) = &mut attempt.next else {
        return;
    };
    let of_fields = ending.answer.iter();
    let of_fields: usize = of_fields
        .map(|(name, value)| name.len() + value.len())
        .sum();
    let mut room = usize::try_from(room).unwrap_or(usize::MAX);
    if of_fields > room {
        ending.answer.clear();
    } else {
        room -= of_fields;
    }
    if ending.result.len() > room {
        ending.result.truncate(room);
        attempt.end = EndReason::Output.to_string();
    }
}

pub(super) fn conclude(
    outcome: Outcome,
    policy: &AsyncPolicy,
    attempts: u32,
    took: Duration,
    callback: bool,
) -> Attempt {
    let Outcome {
        status,
        end,
        answer,
        result,
        verdict,
    } = outcome;
    let over = Next::End(Ending {
        at: unix_now(),
        answer,
        result,
        callback,
    });
    let (problem, next) = match verdict {
        Verdict::Done => (None, over),
        Verdict::Failed(problem) => (Some(problem), over),
        Verdict::Again { problem, .. } if attempts >= policy.attempts => (Some(problem), over),
        Verdict::Again {
            problem,
            after: asked,
        } => {
            let wait = asked.unwrap_or_else(|| pause::wait(policy, attempts));
            (Some(problem), Next::Again(after(wait)))
        }
    };
    Attempt {
        status: Some(status.as_u16()),
        end,
        millis: i64::try_from(millis(took)).unwrap_or(i64::MAX),
        problem,
        next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_cut_to_the_room_that_is_left() {
        let mut attempt = not_made("no".into(), true);
        if let Next::End(ending) = &mut attempt.next {
            ending.answer.push(("ab".into(), b"cd".to_vec()));
            ending.result = b"0123456789".to_vec();
        }
        let cut = |room| {
            let mut attempt = attempt.clone();
            shorten(&mut attempt, room);
            let Next::End(ending) = attempt.next else {
                panic!("no end");
            };
            let is_cut = attempt.end == EndReason::Output.as_str();
            (ending.answer.len(), ending.result.len(), is_cut)
        };
        assert_eq!(cut(14), (1, 10, false));
        assert_eq!(cut(13), (1, 9, true));
        assert_eq!(cut(3), (0, 3, true));
        assert_eq!(cut(0), (0, 0, true));
    }
}
