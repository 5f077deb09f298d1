use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::runtime::Handle;

use super::error::ApiError;

/// Works on the request in a task of `runtime`, and waits for it here. So a gateway's thread
/// never does the control plane's work, a client that leaves never cuts a change in half, and a
/// panic costs one request.
pub(super) async fn on(runtime: Handle, request: Request, next: Next) -> Response {
    match runtime.spawn(next.run(request)).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => ApiError::Panic.into_response(),
        Err(_) => ApiError::Stopping.into_response(),
    }
}
