use std::{
    error::Error as _,
    io::ErrorKind,
    sync::Arc,
    time::{Duration, SystemTime},
};

use hob_model::{
    port::StartedRun,
    sandbox::{RUN_END, RunMaxima, RunOrder, WORKER},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Client, RequestBuilder, Response, redirect::Policy};
use serde::Deserialize;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    authorisation::{Authorisation, WorkerId},
    events::Reading,
    keys::SigningKey,
    order::{self, Sent},
};

/// Longest time to connect to a worker.
const CONNECT: Duration = Duration::from_secs(2);
/// How often a worker is tried that does not accept connections, as one that is just starting.
const TRIES: u32 = 5;
/// Pause before the second try; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(20);
/// Pause before a worker is asked with a new authorisation that has just started, and cannot know
/// whether the first one was used before that.
const ANEW: Duration = Duration::from_secs(1);
/// What of a refusal is read, in bytes.
const REFUSAL: usize = 4096;
/// What of it is passed on, in characters.
const SHOWN: usize = 500;
/// Says why an authorisation is no good.
const HINT: &str = "x-hob-unauthorized";
const AGENT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// What a worker speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// `hob worker`: all that an order can say, and all that an end can tell.
    #[default]
    Hob,
    /// `basher` of bfaas: bash scripts, and an exit code. Nothing but the time and the output of
    /// a run is limited, and that from here.
    Bfaas,
}

/// Where a worker is.
#[derive(Debug, Clone)]
pub struct WorkerAddress {
    /// `http://10.0.0.2:8001`, with no path; `https` where a proxy stands before it.
    pub url: String,
    /// What it calls itself; an answer by another one is not believed.
    pub id: WorkerId,
    /// Sent along, for what stands between: `fly-force-instance-id`.
    pub headers: HeaderMap,
}

/// What the coordinator holds a run to, whatever the worker does.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    /// What the order comes to under the owner's maxima.
    pub limits: RunMaxima,
    /// When the run is to be dead: its time after the lease.
    pub deadline: Instant,
    /// How long the order waited in line, for the receipt.
    pub queue: Duration,
}

/// Has runs made by workers. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    http: Client,
    key: Option<Arc<SigningKey>>,
}

/// The HTTP client cannot be made.
#[derive(Debug, Error)]
#[error("cannot make connections to workers: {0}")]
pub struct ClientError(String);

/// Why a worker has no run for us.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum WorkerError {
    /// The order cannot go to any worker of this kind, or the worker says that it is wrong. Its
    /// sender's to mend.
    #[error("{0}")]
    Refused(String),
    /// Nobody listens there, or nobody can be reached. Nothing was sent.
    #[error("worker {worker} cannot be reached: {problem}")]
    Unreachable {
        /// Its name.
        worker: WorkerId,
        /// In words.
        problem: String,
        /// Whether its machine answers, and it may just be starting.
        refused: bool,
    },
    /// It has a run, or has had its only one. Nothing was run.
    #[error("worker {worker} is busy")]
    Busy {
        /// Its name.
        worker: WorkerId,
    },
    /// It does not take our key, or the clocks differ. Nothing was run.
    #[error("worker {worker} does not let us in: {problem}")]
    Unauthorised {
        /// Its name.
        worker: WorkerId,
        /// What it says.
        problem: String,
        /// Whether it takes one that is signed in a second.
        soon: bool,
    },
    /// It closed the connection instead of an answer, and what became of the order is not known.
    #[error("worker {worker} closed the connection without an answer")]
    Reset {
        /// Its name.
        worker: WorkerId,
    },
    /// It took the order, and what became of it is not known.
    #[error("worker {worker}: {problem}")]
    Failed {
        /// Its name.
        worker: WorkerId,
        /// In words.
        problem: String,
    },
}

// === impl WorkerError ===

impl WorkerError {
    /// Whether the order may be given to another worker, as this one has certainly not run it.
    pub fn nothing_ran(&self) -> bool {
        !matches!(
            self,
            Self::Failed { .. } | Self::Reset { .. } | Self::Refused(_)
        )
    }

    /// Whether the same worker may take the order a moment later. Proxies reset a connection to
    /// one that does not listen yet; one of bfaas cannot have run the order and take it again.
    fn passes(&self, protocol: Protocol) -> bool {
        match self {
            Self::Unreachable { refused, .. } => *refused,
            Self::Reset { .. } => protocol == Protocol::Bfaas,
            _ => false,
        }
    }
}

// === impl WorkerClient ===

impl WorkerClient {
    /// Signs with `key`, where there is one.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(key: Option<SigningKey>) -> Result<Self, ClientError> {
        // The second call of a process finds it done.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = Client::builder()
            .redirect(Policy::none())
            // What runs is on a machine of ours; the environment's proxy is for the web.
            .no_proxy()
            .connect_timeout(CONNECT)
            // A worker has one run a connection, and dropping that ends the run.
            .pool_max_idle_per_host(0)
            .tcp_nodelay(true)
            .http1_only()
            .user_agent(AGENT)
            .build();
        let http = http.map_err(|error| ClientError(words(&error)))?;
        Ok(Self {
            http,
            key: key.map(Arc::new),
        })
    }

    /// Has `order` run, and tries again where nobody listens yet: five times within 300 ms. One that
    /// has only just started is asked again a second later.
    /// Dropping the future or the run closes the connection, by which the worker ends the run.
    ///
    /// # Errors
    /// See [`WorkerError`]. A deadline that passes is none: the run then ends by `timeout`.
    pub async fn run(
        &self,
        worker: &WorkerAddress,
        protocol: Protocol,
        order: &RunOrder,
        held: Held,
    ) -> Result<StartedRun, WorkerError> {
        let (mut pause, mut tries, mut anew) = (PAUSE, 1, false);
        loop {
            let tried = self.try_run(worker, protocol, order, held).await;
            let wait = match &tried {
                Err(WorkerError::Unauthorised { soon: true, .. }) if !anew => {
                    anew = true;
                    ANEW
                }
                Err(error) if error.passes(protocol) && tries < TRIES => {
                    tries += 1;
                    let wait = pause;
                    pause *= 2;
                    wait
                }
                _ => return tried,
            };
            if Instant::now() + wait >= held.deadline {
                return tried;
            }
            sleep(wait).await;
        }
    }

    async fn try_run(
        &self,
        worker: &WorkerAddress,
        protocol: Protocol,
        order: &RunOrder,
        held: Held,
    ) -> Result<StartedRun, WorkerError> {
        let sent = order::encode(protocol, order, held).map_err(WorkerError::Refused)?;
        let request = self.request(worker, protocol, sent)?;
        let reading = Reading::new(protocol, held);
        let answer = async {
            let answer = request.send().await;
            accepted(worker, answer.map_err(|error| unsent(worker, &error))?).await
        };
        let events = match timeout_at(reading.patience(), answer).await {
            Ok(answer) => reading.events(answer?),
            Err(_) => reading.too_late(),
        };
        Ok(StartedRun {
            worker: worker.id.to_string(),
            events,
        })
    }

    fn request(
        &self,
        worker: &WorkerAddress,
        protocol: Protocol,
        sent: Sent,
    ) -> Result<RequestBuilder, WorkerError> {
        let url = format!("{}/run", worker.url.trim_end_matches('/'));
        let mut request = self.http.post(url).headers(worker.headers.clone());
        request = request.header(header::CONTENT_TYPE, sent.content_type);
        if protocol == Protocol::Hob {
            request = request.header(RUN_END, "1");
        }
        if let Some(key) = &self.key {
            let now = SystemTime::now();
            let authorisation = match protocol {
                Protocol::Hob => Authorisation::for_body(&worker.id, now, &sent.body)
                    .map_err(|error| failed(worker, error.to_string()))?,
                Protocol::Bfaas => Authorisation::plain(&worker.id, now),
            };
            let mut value = HeaderValue::from_str(&authorisation.sign(key))
                .map_err(|error| failed(worker, error.to_string()))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        Ok(request.body(sent.body))
    }
}

/// The answer, if it is of the worker that was asked and the run has begun.
async fn accepted(worker: &WorkerAddress, mut answer: Response) -> Result<Response, WorkerError> {
    let status = answer.status();
    let header = |name: &str| Some(answer.headers().get(name)?.to_str().ok()?.to_owned());
    if status == StatusCode::OK {
        return match header(WORKER) {
            Some(id) if id == worker.id.as_str() => Ok(answer),
            Some(id) => Err(failed(
                worker,
                format!("worker {} answered in its place", shown(&id)),
            )),
            None => Err(failed(
                worker,
                "what answered is no worker: it sends no `Worker`".into(),
            )),
        };
    }
    let hint = header(HINT);
    let soon = header(header::RETRY_AFTER.as_str()).is_some();
    let mut text = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await
        && text.len() < REFUSAL
    {
        text.extend_from_slice(&chunk);
    }
    text.truncate(REFUSAL);
    let text = shown(&String::from_utf8_lossy(&text));
    let worker = &worker.id;
    Err(match status {
        StatusCode::UNAUTHORIZED => WorkerError::Unauthorised {
            worker: worker.clone(),
            problem: hint.map_or_else(
                || format!("it says `{text}`, as to those who have another key"),
                |hint| shown(&hint),
            ),
            soon,
        },
        StatusCode::CONFLICT | StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
            WorkerError::Busy {
                worker: worker.clone(),
            }
        }
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNPROCESSABLE_ENTITY => WorkerError::Refused(text),
        _ => WorkerError::Failed {
            worker: worker.clone(),
            problem: format!("it answered {status}: {text}"),
        },
    })
}

/// Why there is no answer.
fn unsent(worker: &WorkerAddress, error: &reqwest::Error) -> WorkerError {
    let problem = words(error);
    let worker = worker.id.clone();
    if error.is_connect() {
        let refused = is_io(
            error,
            &[ErrorKind::ConnectionRefused, ErrorKind::ConnectionReset],
        );
        return WorkerError::Unreachable {
            worker,
            problem,
            refused,
        };
    }
    if is_io(error, &[ErrorKind::ConnectionReset]) {
        return WorkerError::Reset { worker };
    }
    WorkerError::Failed { worker, problem }
}

fn failed(worker: &WorkerAddress, problem: String) -> WorkerError {
    WorkerError::Failed {
        worker: worker.id.clone(),
        problem,
    }
}

fn is_io(error: &reqwest::Error, kinds: &[ErrorKind]) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| kinds.contains(&error.kind())) {
            return true;
        }
        source = error.source();
    }
    false
}

/// The last link has the cause; the URL is the owner's business.
fn words(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    shown(&last.to_string())
}

/// One line of what somebody else wrote.
pub(super) fn shown(text: &str) -> String {
    let text = text.trim().chars().take(SHOWN);
    text.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
