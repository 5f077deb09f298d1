use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode, header,
    uri::{Authority, PathAndQuery},
};

use super::Tls;
use crate::body::Answer;

/// Where an ACME server asks (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";
/// The port of `https` that URLs need not name.
const HTTPS: u16 = 443;

/// Answers a request that came without TLS, where TLS is asked for: an ACME server gets what it
/// wants to know, everybody else is sent to the same address with `https`. Only hosts that have a
/// certificate here: a redirect to any other would be for somebody else to misuse.
pub(crate) fn answer<B>(tls: &Tls, request: &Request<B>) -> Response<Answer> {
    if let Some(token) = request.uri().path().strip_prefix(CHALLENGES)
        && [Method::GET, Method::HEAD].contains(request.method())
    {
        return match tls.certificates.answer_to(token) {
            Some(answer) => text(StatusCode::OK, String::from(answer)),
            None => text(
                StatusCode::NOT_FOUND,
                "nobody asked for this token\n".into(),
            ),
        };
    }
    let Some(location) = location(tls, request) else {
        let line = "no certificate of this server is for this host\n";
        return text(StatusCode::MISDIRECTED_REQUEST, line.into());
    };
    let mut response = text(StatusCode::PERMANENT_REDIRECT, "come by https\n".to_owned());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

fn location<B>(tls: &Tls, request: &Request<B>) -> Option<HeaderValue> {
    let host = request.headers().get(header::HOST);
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let authority = host.as_ref().or(request.uri().authority())?;
    let host = authority.host().to_ascii_lowercase();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if !tls.certificates.know(bare) {
        return None;
    }
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    // `OPTIONS *` has none.
    let path = if path.starts_with('/') { path } else { "/" };
    let location = match tls.port {
        HTTPS => format!("https://{host}{path}"),
        port => format!("https://{host}:{port}{path}"),
    };
    HeaderValue::from_str(&location).ok()
}

fn text(status: StatusCode, line: String) -> Response<Answer> {
    const NOSNIFF: HeaderName = header::X_CONTENT_TYPE_OPTIONS;
    let mut response = Response::new(Answer::Whole(Some(Bytes::from(line))));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    fields.insert(header::CONTENT_TYPE, plain);
    fields.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    // Nobody has more to say here.
    fields.insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
