//! The same for clients of Piston, in its version 2 (<https://github.com/engineer-man/piston>):
//! one answer when all is over.

mod outcome;
mod request;
mod version;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use hob_model::{
    Memory,
    port::StartedRun,
    sandbox::{EXECUTE_PATH, RunEnd, RunEvent},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Runs, Tally,
    ask::{caller, kind, nobody},
    error::RunsError,
};
use outcome::Outcome;
pub(crate) use request::ExecuteRequest;

/// Where clients ask what there is.
pub(crate) const RUNTIMES_PATH: &str = "/api/v2/runtimes";
/// The same, as Piston's public server once had it.
pub(crate) const RUNTIMES_ALIAS: &str = "/api/v2/piston/runtimes";
/// Most bytes that a run may write here, whatever the server's limit: all of it is in memory until
/// the end.
const OUTPUT_MAX: Memory = Memory(1 << 20);
/// Said of a language that does not tell its version, since clients read it as one.
const NO_VERSION: &str = "0.0.0";

/// What a run came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecuteAnswer {
    run: Outcome,
    /// The language's own name.
    language: String,
    version: String,
}

/// A language.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecuteRuntime)]
pub(crate) struct Runtime {
    language: String,
    version: String,
    aliases: Vec<String>,
}

/// An error as Piston tells it.
pub(crate) struct Told(RunsError);

impl From<RunsError> for Told {
    fn from(error: RunsError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Told {
    fn into_response(self) -> Response {
        self.0.as_message("POST")
    }
}

/// Runs a program once and answers when it is over, in the form of Piston.
///
/// There is nothing to compile, so that limits of compiling mean nothing.
#[utoipa::path(post, path = EXECUTE_PATH, tag = "runs",
    request_body = ExecuteRequest,
    responses(
        (status = 200, description = "It ran", body = ExecuteAnswer),
        (status = 400, description = "`message` says what is wrong with it", body = Object),
        (status = 403, description = "A web page sent the request", body = Object),
        (status = 404, description = "This server runs no scripts", body = Object),
        (status = 413, description = "The request is over its limit", body = Object),
        (status = 415, description = "The request is not JSON", body = Object),
        (status = 429, description = "The caller asks too often", body = Object),
        (status = 500, description = "No sandbox can be had", body = Object),
        (status = 503, description = "All sandboxes are busy: come again after `Retry-After`",
            body = Object)))]
pub(crate) async fn execute(
    State(runs): State<Runs>,
    request: Request,
) -> Result<Json<ExecuteAnswer>, Told> {
    let sandboxes = runs.sandboxes()?;
    let (head, body) = request.into_parts();
    if !may_be_json(kind(&head.headers)) {
        return Err(RunsError::NoJson.into());
    }
    let caller = caller(&head.extensions);
    let received = runs.0.room.receive(caller.as_deref(), &head.headers, body);
    let (body, held) = received.await?;
    let asked = request::read(&body, &sandboxes.languages(), &runs.config().limits)?;
    drop(body);
    let (mut order, language) = (asked.order, asked.language);
    order.caller = caller.unwrap_or_else(nobody);
    let limits = runs.settle(&order.limits)?;
    order.limits.output = Some(limits.output.min(OUTPUT_MAX));
    let started = runs.start(order).await?;
    drop(held);
    let run = finish(started, Tally::begin(&runs)).await;
    Ok(Json(ExecuteAnswer {
        run,
        version: version_of(language.version),
        language: language.name,
    }))
}

/// What may be run, in the form of Piston.
#[utoipa::path(get, path = RUNTIMES_PATH, tag = "runs",
    responses(
        (status = 200, description = "Languages", body = Vec<Runtime>),
        (status = 404, description = "This server runs no scripts", body = Object)))]
pub(crate) async fn runtimes(State(runs): State<Runs>) -> Result<Json<Vec<Runtime>>, Told> {
    let all = runs.sandboxes()?.languages().into_iter();
    let all = all.map(|language| Runtime {
        version: version_of(language.version),
        language: language.name,
        aliases: language.aliases,
    });
    Ok(Json(all.collect()))
}

/// Some clients leave the type out, and their libraries call it text.
fn may_be_json(kind: &str) -> bool {
    let known = ["", "application/json", "text/plain"];
    known.iter().any(|one| kind.eq_ignore_ascii_case(one))
}

fn version_of(version: String) -> String {
    match version.is_empty() {
        true => NO_VERSION.to_owned(),
        false => version,
    }
}

/// Waits for the end. Dropped before, it ends the run.
async fn finish(started: StartedRun, mut tally: Tally) -> Outcome {
    let mut events = started.events;
    let (mut stdout, mut stderr, mut output) = (Vec::new(), Vec::new(), Vec::new());
    let mut last: Option<RunEnd> = None;
    while let Some(event) = events.next().await {
        match event {
            RunEvent::Stdout(bytes) => {
                stdout.extend_from_slice(&bytes);
                output.extend_from_slice(&bytes);
            }
            RunEvent::Stderr(bytes) => {
                stderr.extend_from_slice(&bytes);
                output.extend_from_slice(&bytes);
            }
            RunEvent::End(end) => {
                last = Some(end);
                break;
            }
        }
    }
    let end = last.unwrap_or_else(super::stream::broken);
    tally.ended(&end);
    Outcome::new([stdout, stderr, output], &end)
}
