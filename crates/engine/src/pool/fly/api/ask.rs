//! One question to the API: its tries, its longest time, and an answer of bounded size.

use std::time::Duration;

use reqwest::{
    Method, RequestBuilder, Response, Url,
    header::{AUTHORIZATION, RETRY_AFTER},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{Api, NONCE, failed};
use crate::pool::fly::error::{ApiError, Problem};

/// Largest answer, in bytes. A machine with its events takes some kilobytes.
const LARGEST: usize = 8 << 20;
/// How often something is asked at most, but for what the API puts off (429).
const TRIES: u32 = 4;
/// How often the pause between tries doubles.
const MOST_DOUBLINGS: u32 = 3;
/// Longest pause that the API may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Of what the API says about an error, so many characters are kept.
const SHOWN: usize = 200;

/// When a question is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// Whatever happened: asking twice is as good as once.
    Safe,
    /// Only where it is certain that nothing was done.
    IfNotDone,
    /// As [`Retry::Safe`], and also where a machine is not yet in a state to be started (412).
    Early,
}

pub(super) struct Ask<'a> {
    api: &'a Api,
    method: Method,
    url: Url,
    step: String,
    nonce: Option<String>,
    body: Option<Value>,
    retry: Retry,
    within: Duration,
}

/// How the API words an error; a conflict with a lease has `message`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Worded {
    error: String,
    message: String,
}

/// One try that failed.
struct Failure {
    problem: Problem,
    /// What the API asks for before another.
    after: Option<Duration>,
}

// === impl Ask ===

impl<'a> Ask<'a> {
    pub(super) fn new(api: &'a Api, method: Method, url: Url, step: String) -> Self {
        Self {
            api,
            method,
            url,
            step,
            nonce: None,
            body: None,
            retry: Retry::IfNotDone,
            within: api.pace.request,
        }
    }

    pub(super) fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }

    pub(super) fn nonce(self, nonce: Option<&str>) -> Self {
        let nonce = nonce.map(str::to_owned);
        Self { nonce, ..self }
    }

    pub(super) fn body(self, body: Value) -> Self {
        let body = Some(body);
        Self { body, ..self }
    }

    /// Longest time of one try, and after which there is no other.
    pub(super) fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    /// Asks until there is an answer, or no more tries.
    pub(super) async fn send<T: DeserializeOwned>(self) -> Result<T, ApiError> {
        let since = Instant::now();
        let mut tries = 0;
        loop {
            let failure = match timeout(self.within, self.once()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(failure)) => failure,
                Err(_) => Failure::new(Problem::Unanswered(format!("none in {:?}", self.within))),
            };
            let pause = self.pause(&failure, tries);
            tries += 1;
            let pause = match pause {
                Some(pause) if self.goes_on(&failure, tries, since.elapsed()) => pause,
                _ => return Err(failed(&self.step, failure.problem)),
            };
            tracing::debug!("{}: {:?}, again in {pause:?}", self.step, failure.problem);
            sleep(pause).await;
        }
    }

    /// Whether there is time for another try, after so many.
    fn goes_on(&self, failure: &Failure, tries: u32, took: Duration) -> bool {
        match failure.problem {
            // Its limits are low, and many callers are one to it: they take turns.
            Problem::Refused { status: 429, .. } => took < self.api.pace.start,
            _ => tries < TRIES && took < self.within,
        }
    }

    /// How long to wait before another try; `None` where there is to be none.
    fn pause(&self, failure: &Failure, tried: u32) -> Option<Duration> {
        let pace = &self.api.pace;
        let (may, first) = match failure.problem {
            Problem::Unreachable(_) => (true, pace.busy),
            Problem::Refused { status: 429, .. } => (true, pace.busy),
            Problem::Refused { status: 412, .. } => (self.retry == Retry::Early, pace.early),
            Problem::Refused { status, .. } if status >= 500 => {
                (self.retry != Retry::IfNotDone, pace.busy)
            }
            Problem::Unanswered(_) | Problem::Garbled(_) => {
                (self.retry != Retry::IfNotDone, pace.busy)
            }
            Problem::Refused { .. } | Problem::Debt(_) | Problem::Closed => (false, pace.busy),
        };
        let usual = first.saturating_mul(1 << tried.min(MOST_DOUBLINGS));
        may.then(|| {
            failure
                .after
                .unwrap_or_default()
                .max(usual)
                .min(LONGEST_PAUSE)
        })
    }

    async fn once<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let answer = self.request().send().await.map_err(|error| {
            let connecting = error.is_connect();
            let words = chain(&error.without_url());
            Failure::new(match connecting {
                true => Problem::Unreachable(words),
                false => Problem::Unanswered(words),
            })
        })?;
        let status = answer.status();
        let after = answer.headers().get(RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
        let after = after.map(Duration::from_secs);
        let body = whole(answer).await;
        if !status.is_success() {
            let message = body.map(|body| wording(&body)).unwrap_or_default();
            let status = status.as_u16();
            let problem = Problem::Refused { status, message };
            return Err(Failure { problem, after });
        }
        let mut body = body.map_err(Failure::new)?;
        if body.is_empty() {
            // Enough where nothing is to be read from it.
            body = b"null".to_vec();
        }
        serde_json::from_slice(&body)
            .map_err(|error| Failure::new(Problem::Garbled(error.to_string())))
    }

    fn request(&self) -> RequestBuilder {
        let client = &self.api.client;
        let mut request = client
            .request(self.method.clone(), self.url.clone())
            .header(AUTHORIZATION, self.api.token.field());
        if let Some(nonce) = &self.nonce {
            request = request.header(NONCE, nonce);
        }
        match &self.body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        }
    }
}

// === impl Failure ===

impl Failure {
    fn new(problem: Problem) -> Self {
        let after = None;
        Self { problem, after }
    }
}

/// Reads an answer's body.
async fn whole(mut answer: Response) -> Result<Vec<u8>, Problem> {
    let mut body = Vec::new();
    loop {
        let chunk = answer.chunk().await;
        let chunk = chunk.map_err(|error| Problem::Unanswered(chain(&error.without_url())))?;
        let Some(chunk) = chunk else {
            return Ok(body);
        };
        if body.len() + chunk.len() > LARGEST {
            return Err(Problem::Garbled(format!("more than {LARGEST} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
}

/// What the API says of an error, in one short line.
fn wording(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Worded>(body) {
        Ok(Worded { error, message }) if error.is_empty() => message,
        Ok(Worded { error, .. }) => error,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line = text.chars().map(|letter| match letter.is_control() {
        true => ' ',
        false => letter,
    });
    line.take(SHOWN).collect::<String>().trim().to_owned()
}

/// An error and what it came from.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}
