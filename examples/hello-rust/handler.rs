use crate::{Request, Response};

/// Answers a call. Text, bytes and `Response::new(status, body)` all turn `into()` an answer.
pub fn handle(request: Request) -> Response {
    let body = request.text();
    let who = if body.is_empty() { "world" } else { &body };
    format!("Hello, {who}!").into()
}
