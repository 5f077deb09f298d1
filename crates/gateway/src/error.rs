use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use hob_model::{Conduct, End, EndReason, Refusal, Route, Timespan};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use thiserror::Error;

use crate::{body::Answer, guard::Standing};

/// Says to this very process that hob answered, and the function had no part in it. The inner door
/// has it on such answers and on no others, also where a replica sends it.
pub(crate) const REFUSED: HeaderName = HeaderName::from_static("x-hob-refused");
/// Longest part of a name out of a URL that an error repeats, in characters.
const ECHO_MAX: usize = 100;

/// Shortest and longest time after which a caller is told to come again, in seconds.
const RETRY_AFTER: (u64, u64) = (1, 60);
/// The same where all functions together have too many calls: that passes quickly.
const CROWDED_RETRY: u64 = 1;

/// The same for callers of a crowd.
const CROWD_RETRY: u64 = 10;

/// In the extensions of an answer: hob refused the call by itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused;

/// Why hob, and not the function, answers a call. Each is one line that anybody may read.
#[derive(Debug, Error)]
pub(crate) enum GatewayError {
    /// The request could be read in two ways, or in none.
    #[error("{0}")]
    BadRequest(&'static str),
    #[error("function `{}` does not exist on this server: `hob list` shows those that do", echo(.0))]
    UnknownFunction(String),
    #[error(
        "function `{function}` may not be called by pages of {origin}: add the origin to `cors` in its hob.toml"
    )]
    Origin { function: String, origin: String },
    #[error("function `{function}` is a folder of files: use GET or HEAD")]
    FilesOnly { function: String },
    #[error("function `{function}` has no such file")]
    NoFile { function: String },
    #[error(
        "function `{function}` takes bodies of at most {limit} bytes: raise `limits.body` in its hob.toml"
    )]
    TooLarge { function: String, limit: u64 },
    /// A body that has to be read whole first.
    #[error(
        "function `{function}` checks the signature of each body, and those of more than {limit} bytes are not read for that: send less, or another `auth`"
    )]
    TooLargeToCheck { function: String, limit: u64 },
    #[error(
        "function `{function}` has as many calls as `scale.concurrency` lets in, and `scale.queue` more wait: try again in {retry_after} s, or raise one of them in its hob.toml"
    )]
    Busy {
        function: String,
        /// Seconds.
        retry_after: u64,
    },
    /// The caller has called too often.
    #[error(
        "function `{function}` takes {rate} calls of one caller: try again in {} s",
        .standing.seconds()
    )]
    Rate {
        function: String,
        rate: String,
        standing: Standing,
    },
    /// The caller has had something run too often.
    #[error(
        "this server takes {rate} runs of one caller: try again in {} s",
        .standing.seconds()
    )]
    RunRate { rate: String, standing: Standing },
    #[error(
        "this server has as many calls under way as it takes: try again in {} s, or raise `limits.calls` in its config.toml",
        CROWDED_RETRY
    )]
    Crowded,
    #[error(
        "function `{function}` would be the call number {} in a chain of functions that call each other, and {deepest} is the most: look for a loop, or raise `limits.depth` in the server's config.toml",
        .deepest.saturating_add(1)
    )]
    TooDeep { function: String, deepest: u32 },
    #[error("`X-Hob-Depth` has to be a number: pass it on as the function got it")]
    NoDepth,
    /// Nobody knows who calls.
    #[error("function `{function}` asks who calls: {problem}")]
    Unauthorized {
        function: String,
        problem: &'static str,
        /// What `WWW-Authenticate` says; `None` where no HTTP authentication would help.
        challenge: Option<String>,
        /// What it says of the caller.
        conduct: Option<Conduct>,
    },
    /// It is known, and not enough.
    #[error("function `{function}` does not let this caller do that: {problem}")]
    Forbidden {
        function: String,
        problem: String,
        /// What `WWW-Authenticate` says, if another token would help.
        challenge: Option<String>,
    },
    /// Whether the caller may cannot be found out.
    #[error("function `{function}` cannot find out who calls: {problem}")]
    NoVerdict {
        function: String,
        problem: &'static str,
    },
    #[error(
        "nothing is served at {0} for now, since too much was tried from there: the owner of this server can say `hob ban remove`"
    )]
    ShutOut(IpAddr),
    /// Too many answers wait already.
    #[error("too many failed requests at once: try again in {CROWD_RETRY} s")]
    Crowd,
    #[error("the request's body came too slowly: send it faster, or in several requests")]
    SlowBody,
    #[error("function `{function}` {}", .end.message)]
    Ended { function: String, end: End },
    #[error("function `{function}` did not start: {message}")]
    NotStarted {
        function: String,
        reason: EndReason,
        message: String,
    },
    #[error("function `{function}` did not start within its timeout of {timeout}")]
    StartOverdue { function: String, timeout: Timespan },
    #[error(
        "function `{function}` had no place for the call within its timeout of {timeout}: raise `scale.concurrency` or `scale.max` in its hob.toml"
    )]
    QueueOverdue { function: String, timeout: Timespan },
    #[error(
        "function `{function}` answered with more than the {limit} bytes that it may: raise `limits.output` in its hob.toml"
    )]
    TooMuch { function: String, limit: u64 },
    #[error("function `{function}` did not answer within its timeout of {timeout} and was stopped")]
    Overdue { function: String, timeout: Timespan },
}

impl GatewayError {
    pub(crate) fn too_large(route: &Route) -> Self {
        Self::TooLarge {
            function: route.function.to_string(),
            limit: route.body_limit,
        }
    }

    /// The line is full. A call that is let in takes about as long as those before it did, their
    /// waiting included.
    pub(crate) fn busy(route: &Route) -> Self {
        let usual = route
            .counters
            .mean_without(StatusCode::TOO_MANY_REQUESTS.as_u16());
        let (least, most) = RETRY_AFTER;
        Self::Busy {
            function: route.function.to_string(),
            retry_after: (usual + Duration::from_millis(999))
                .as_secs()
                .clamp(least, most),
        }
    }

    pub(crate) fn too_much(route: &Route) -> Self {
        Self::TooMuch {
            function: route.function.to_string(),
            limit: route.output_limit,
        }
    }

    pub(crate) fn overdue(route: &Route) -> Self {
        Self::Overdue {
            function: route.function.to_string(),
            timeout: route.timeout,
        }
    }

    pub(crate) fn ended(route: &Route, end: End) -> Self {
        Self::Ended {
            function: route.function.to_string(),
            end,
        }
    }

    /// How the call ended.
    pub(crate) fn end(&self) -> EndReason {
        match self {
            Self::BadRequest(_)
            | Self::UnknownFunction(_)
            | Self::Origin { .. }
            | Self::FilesOnly { .. }
            | Self::NoFile { .. }
            | Self::TooLarge { .. }
            | Self::TooLargeToCheck { .. }
            | Self::Busy { .. }
            | Self::ShutOut(_)
            | Self::Crowd
            | Self::SlowBody
            | Self::Rate { .. }
            | Self::RunRate { .. }
            | Self::Crowded
            | Self::TooDeep { .. }
            | Self::NoDepth
            | Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NoVerdict { .. } => EndReason::Ok,
            Self::Ended { end, .. } => end.reason,
            Self::NotStarted { reason, .. } => *reason,
            Self::TooMuch { .. } => EndReason::Output,
            Self::StartOverdue { .. } | Self::QueueOverdue { .. } | Self::Overdue { .. } => {
                EndReason::Timeout
            }
        }
    }

    /// Which guard refused the call, if one did.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Unauthorized { .. } | Self::Forbidden { .. } | Self::NoVerdict { .. } => {
                Some(Refusal::Auth)
            }
            Self::Rate { .. } | Self::RunRate { .. } => Some(Refusal::Rate),
            Self::Crowded => Some(Refusal::Brake),
            Self::TooDeep { .. } | Self::NoDepth => Some(Refusal::Depth),
            _ => None,
        }
    }

    /// What its caller gets.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::NoDepth => StatusCode::BAD_REQUEST,
            Self::UnknownFunction(_) | Self::NoFile { .. } => StatusCode::NOT_FOUND,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::NoVerdict { .. } | Self::Crowded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooDeep { .. } => StatusCode::LOOP_DETECTED,
            Self::Origin { .. } | Self::Forbidden { .. } | Self::ShutOut(_) => {
                StatusCode::FORBIDDEN
            }
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::FilesOnly { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } | Self::TooLargeToCheck { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Busy { .. } | Self::Rate { .. } | Self::RunRate { .. } | Self::Crowd => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Ended { .. } | Self::NotStarted { .. } | Self::TooMuch { .. } => {
                StatusCode::BAD_GATEWAY
            }
            Self::StartOverdue { .. } | Self::QueueOverdue { .. } | Self::Overdue { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
        }
    }

    /// What it says of the caller.
    fn conduct(&self) -> Option<Conduct> {
        match self {
            Self::Unauthorized { conduct, .. } => *conduct,
            Self::UnknownFunction(_) | Self::NoFile { .. } | Self::SlowBody => Some(Conduct::Miss),
            _ => None,
        }
    }

    /// The one place where an error becomes HTTP.
    pub(crate) fn into_response(self) -> Response<Answer> {
        const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
        let mut line = self.to_string().replace(char::is_control, " ");
        line.push('\n');
        let mut response = Response::new(Answer::Whole(Some(Bytes::from(line))));
        *response.status_mut() = self.status();
        if self.end() == EndReason::Ok {
            response.extensions_mut().insert(Refused);
        }
        if let Some(conduct) = self.conduct() {
            response.extensions_mut().insert(conduct);
        }
        let headers = response.headers_mut();
        let text = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, text);
        headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
        match self {
            // What follows on the connection cannot be trusted to be a request.
            Self::BadRequest(_) | Self::ShutOut(_) | Self::SlowBody => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Self::FilesOnly { .. } => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            }
            Self::Unauthorized {
                challenge: Some(challenge),
                ..
            }
            | Self::Forbidden {
                challenge: Some(challenge),
                ..
            } => {
                if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                    headers.insert(header::WWW_AUTHENTICATE, challenge);
                }
            }
            Self::Crowd => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(CROWD_RETRY));
            }
            Self::Busy { retry_after, .. } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
            }
            Self::Rate { standing, .. } | Self::RunRate { standing, .. } => {
                let wait = HeaderValue::from(standing.seconds());
                headers.insert(header::RETRY_AFTER, wait);
                standing.stamp(headers);
            }
            Self::Crowded => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(CROWDED_RETRY));
            }
            _ => {}
        }
        response
    }
}

fn echo(name: &str) -> String {
    name.chars().take(ECHO_MAX).collect()
}
