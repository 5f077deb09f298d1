use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use super::error::ApiError;
use crate::runs;

/// Works on the request in a task of `runtime`, and waits for it here. So a gateway's thread
/// never does the control plane's work, a client that leaves never cuts a change in half, and a
/// panic costs one request.
///
/// Of what only a caller wants, nothing is done once he has left.
pub(super) async fn on(runtime: Handle, request: Request, next: Next) -> Response {
    let given_up = runs::ends_with_its_caller(request.uri().path());
    let work = runtime.spawn(next.run(request));
    let done = match given_up {
        true => AbortOnDropHandle::new(work).await,
        false => work.await,
    };
    match done {
        Ok(response) => response,
        Err(error) if error.is_panic() => ApiError::Panic.into_response(),
        Err(_) => ApiError::Stopping.into_response(),
    }
}
