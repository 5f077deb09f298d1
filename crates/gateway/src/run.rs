//! Runs in sandboxes on their way to the control plane, which makes them: what this side knows of
//! callers holds for them as well.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hob_model::{
    CallerAddress,
    sandbox::{COORD, RUN_PATH, asks_for_run},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::{
    AnswerBody, BoxError, CallBody, RunFields,
    body::Answer,
    client::Client,
    cors::{self, Visitor},
    error::GatewayError,
    guard::Place,
    later::judged,
    pace::CallerBody,
};

/// Says which server it was.
const COORD_FIELD: HeaderName = HeaderName::from_static(COORD);

/// Whether a request asks for a run.
pub(crate) fn is_asked_for(request: &Request<CallerBody>) -> bool {
    request.method() == Method::POST && asks_for_run(request.uri().path())
}

/// Has it made, unless its caller asks too often or too much is under way.
pub(crate) async fn pass_on(
    client: &Rc<Client>,
    caller: CallerAddress,
    mut request: Request<CallerBody>,
) -> Response<Answer> {
    let fields = &client.worker().config.runs;
    let visitor = Visitor::of(request.headers());
    let (place, standing) = match client.worker().guards.admit_run(caller.ip) {
        Ok(admitted) => admitted,
        Err(error) => {
            if !request.body().is_end_stream() {
                client.leave_unread();
            }
            let mut refused = refuse(error, request.uri().path());
            sign(fields, &visitor, refused.headers_mut());
            return refused;
        }
    };
    let owed = request.body().owed();
    request.extensions_mut().insert(caller);
    let fallback = &client.worker().fallback;
    let answer = fallback(request.map(CallBody::new), client.peer).await;
    let answer = answer.map(|body| {
        let body = Held {
            body,
            _place: place,
        };
        Answer::Other(UnsyncBoxBody::new(body))
    });
    let mut answer = judged(client, answer, &owed);
    if owed.is_too_slow() {
        // It is no longer that of the control plane.
        sign(fields, &visitor, answer.headers_mut());
    }
    if let Some(standing) = standing {
        standing.stamp(answer.headers_mut());
    }
    answer
}

/// Says what the control plane says in each of its answers.
fn sign(fields: &RunFields, visitor: &Visitor, headers: &mut HeaderMap) {
    if let Some(coord) = &fields.coord {
        headers.insert(COORD_FIELD, coord.clone());
    }
    if let Some(policy) = &fields.cors {
        cors::apply(policy, visitor, headers);
        headers.append(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Coord"),
        );
    }
}

/// Clients of Piston read errors as JSON.
fn refuse(error: GatewayError, path: &str) -> Response<Answer> {
    let line = error.to_string();
    let mut response = error.into_response();
    if path != RUN_PATH {
        let message = serde_json::json!({ "message": line }).to_string();
        *response.body_mut() = Answer::Whole(Some(message.into()));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    response
}

/// A run is under way until all of its answer is with the caller.
struct Held {
    body: AnswerBody,
    _place: Place,
}

impl Body for Held {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
