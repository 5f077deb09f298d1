//! What the answer to an attempt means.

use std::time::Duration;

use hob_model::{AsyncPolicy, EndReason};
use hob_store::Fields;
use http::{HeaderMap, StatusCode};

use super::{fields::fields, inside::Reply, pause};

/// Set by OpenFaaS's own programs where the function itself was not reached.
const INTERNAL: &str = "x-openfaas-internal";
/// How the data plane says that it was it who answered, and why.
const END: &str = "x-hob-end";
/// How the data plane says that it refused the call, and the function had no part in that.
const REFUSED: &str = "x-hob-refused";
/// Longest line of an answer that is kept as the reason, in characters.
const LINE: usize = 300;
/// What an attempt came to.
pub(super) struct Outcome {
    /// 503 where nobody answered.
    pub(super) status: StatusCode,
    /// The end reason.
    pub(super) end: String,
    pub(super) answer: Fields,
    pub(super) result: Vec<u8>,
    pub(super) verdict: Verdict,
}

/// What follows from an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The function has answered, for better or worse.
    Done,
    /// It is to be tried again, after this time if the answer says so.
    Again {
        problem: String,
        after: Option<Duration>,
    },
    /// It failed, and another try would be no use.
    Failed(String),
}

impl Outcome {
    /// By what came back, if anything did.
    pub(super) fn of(reply: Result<Reply, String>, policy: &AsyncPolicy) -> Self {
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(problem) => return Self::unreachable(problem),
        };
        let verdict = judge(&reply, policy);
        reply.headers.remove(REFUSED);
        let end = reply.headers.get(END).and_then(|end| end.to_str().ok());
        let end = end.unwrap_or(match reply.cut {
            true => EndReason::Output.as_str(),
            false => EndReason::Ok.as_str(),
        });
        Self {
            status: reply.status,
            end: end.to_owned(),
            verdict,
            answer: fields(&reply.headers),
            result: reply.body,
        }
    }

    fn unreachable(problem: String) -> Self {
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            end: EndReason::Host.to_string(),
            answer: Fields::new(),
            result: Vec::new(),
            verdict: Verdict::Again {
                problem,
                after: None,
            },
        }
    }
}

fn judge(reply: &Reply, policy: &AsyncPolicy) -> Verdict {
    if is_hopeless(reply) {
        return Verdict::Failed(problem(reply));
    }
    let not_reached = reply.headers.contains_key(INTERNAL) || was_not_reached(&reply.headers);
    if not_reached || policy.codes.contains(&reply.status.as_u16()) {
        return Verdict::Again {
            problem: problem(reply),
            after: pause::asked(&reply.headers),
        };
    }
    if reply.status.is_server_error() {
        return Verdict::Failed(problem(reply));
    }
    Verdict::Done
}

/// Whether hob refuses the call and will for as long as the function is as it is: its body is too
/// large by now, or a folder of files has taken the function's place.
fn is_hopeless(reply: &Reply) -> bool {
    let lasting = [
        StatusCode::PAYLOAD_TOO_LARGE,
        StatusCode::METHOD_NOT_ALLOWED,
    ];
    reply.headers.contains_key(REFUSED) && lasting.contains(&reply.status)
}

/// Whether the function had no part in the failure, so that its codes do not count.
fn was_not_reached(headers: &HeaderMap) -> bool {
    if headers.contains_key(REFUSED) {
        return true;
    }
    let reasons = [EndReason::Unready, EndReason::Host];
    headers.get(END).is_some_and(|end| {
        let end = end.as_bytes();
        reasons
            .iter()
            .any(|reason| reason.as_str().as_bytes() == end)
    })
}

/// The line that hob answered with in the function's place, else the function's status.
fn problem(reply: &Reply) -> String {
    let text = String::from_utf8_lossy(&reply.body);
    let by_hob = [END, REFUSED]
        .iter()
        .any(|name| reply.headers.contains_key(*name));
    match text.lines().next() {
        Some(line) if by_hob => line.chars().take(LINE).collect(),
        _ => format!("it answered {}", reply.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, fields: &[(&'static str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().expect("valid"));
        }
        let reply = Reply {
            status: StatusCode::from_u16(status).expect("valid"),
            headers,
            body: b"it is late\nvery".to_vec(),
            cut: false,
        };
        let policy = AsyncPolicy {
            codes: vec![429],
            ..AsyncPolicy::default()
        };
        judge(&reply, &policy)
    }

    #[test]
    fn what_the_function_answers_is_final_unless_its_codes_say_else() {
        for status in [200, 204, 302, 400, 404] {
            assert_eq!(judged(status, &[]), Verdict::Done, "{status}");
        }
        let failed = Verdict::Failed("it answered 500 Internal Server Error".into());
        assert_eq!(judged(500, &[]), failed);
        let again = Verdict::Again {
            problem: "it answered 429 Too Many Requests".into(),
            after: Some(Duration::from_secs(2)),
        };
        assert_eq!(judged(429, &[("retry-after", "2")]), again);
    }

    #[test]
    fn what_did_not_reach_the_function_is_always_tried_again() {
        for field in [
            ("x-openfaas-internal", "gateway"),
            (END, "unready"),
            (END, "host"),
            (REFUSED, "1"),
        ] {
            let verdict = judged(502, &[field]);
            assert!(matches!(verdict, Verdict::Again { .. }), "{field:?}");
        }
        let verdict = judged(404, &[(REFUSED, "1")]);
        assert!(matches!(verdict, Verdict::Again { .. }), "{verdict:?}");
        for status in [405, 413] {
            let failed = Verdict::Failed("it is late".into());
            assert_eq!(judged(status, &[(REFUSED, "1")]), failed, "{status}");
        }
        let failed = Verdict::Failed("it is late".into());
        assert_eq!(judged(504, &[(END, "timeout")]), failed);
    }
}
