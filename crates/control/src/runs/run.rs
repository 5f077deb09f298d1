use axum::{
    extract::{Request, State},
    response::Response,
};
use hob_model::sandbox::RUN_PATH;

use super::{Runs, Tally, ask::Asked, error::RunsError, json::RunRequest, stream};

/// Runs a script once, in a sandbox of its own, and streams what it writes.
///
/// The body is the script, or with `Content-Type: application/json` an order that says more. The
/// answer is a stream of events `stdout`, `stderr` and `exit`; with `raw` it is the output as it
/// is, and `exit: N` as the last line. Whoever hangs up ends the run.
#[utoipa::path(post, path = RUN_PATH, tag = "runs",
    params(
        ("raw" = Option<String>, Query, description = "Not empty: the output as it is"),
        ("end" = Option<String>, Query, description = "Not empty: all that is known of the end"),
        ("lang" = Option<String>, Query, description = "Name or alias of a language [default: bash]"),
        ("time" = Option<String>, Query, description = "Time limit: `2s`"),
        ("cpu" = Option<String>, Query, description = "Limit of processor time"),
        ("memory" = Option<String>, Query, description = "Limit of memory: `64Mi`"),
        ("pids" = Option<u32>, Query, description = "Limit of processes and threads"),
        ("output" = Option<String>, Query, description = "Limit of output"),
        ("disk" = Option<String>, Query, description = "Limit of files")),
    request_body(
        content(
            (String = "text/plain"),
            (RunRequest = "application/json")),
        description = "Absent: nothing is run, and its exit status is 0"),
    responses(
        (status = 200, description = "It ran", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The order asks for what it cannot have", body = String),
        (status = 403, description = "A web page sent the request", body = String),
        (status = 404, description = "This server runs no scripts", body = String),
        (status = 413, description = "The request is over its limit", body = String),
        (status = 429, description = "The caller asks too often", body = String),
        (status = 500, description = "No sandbox can be had", body = String),
        (status = 503, description = "All sandboxes are busy: come again after `Retry-After`",
            body = String)))]
pub(crate) async fn run(State(runs): State<Runs>, request: Request) -> Result<Response, RunsError> {
    // Before a byte of the body is read.
    runs.sandboxes()?;
    let (head, body) = request.into_parts();
    let Asked { order, form, held } = Asked::read(&runs, &head, body).await?;
    runs.settle(&order.limits)?;
    let started = runs.start(order).await?;
    // The order is where it runs.
    drop(held);
    let tally = Tally::begin(&runs);
    stream::answer(started, form, tally).await
}
