use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use tokio::fs::canonicalize;
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::{body::Answer, call::Call, error::GatewayError, path::Address};

/// Answers a call of a function that is a folder of files: ranges, conditional requests, HEAD
/// and `index.html` are [`ServeDir`]'s.
pub(crate) async fn serve<B>(
    call: &Call,
    folder: &Path,
    request: Request<B>,
    address: Address,
) -> Result<Response<Answer>, GatewayError> {
    let function = call.route.function.to_string();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(GatewayError::FilesOnly { function });
    }
    let Address { uri, base, .. } = &address;
    if address.is_bare {
        // The page's relative links are relative to the folder, not to what it is in.
        return redirect(base, "/", uri.query());
    }
    if !stays_inside(folder, uri.path()).await {
        return Err(GatewayError::NoFile { function });
    }
    let mut inner = Request::new(Empty::<Bytes>::new());
    *inner.method_mut() = request.method().clone();
    *inner.uri_mut() = uri.clone();
    *inner.headers_mut() = request.headers().clone();
    let served = ServeDir::new(folder).oneshot(inner).await;
    let response = served.unwrap_or_else(|never| match never {});
    let inside = response.headers().get(header::LOCATION);
    if let Some(inside) = inside.and_then(|location| location.to_str().ok()) {
        return redirect(base, inside, None);
    }
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Err(GatewayError::NoFile { function });
    }
    Ok(response.map(|body| Answer::Other(UnsyncBoxBody::new(body.map_err(Into::into)))))
}

/// Whether a path leads to nothing outside the folder. [`ServeDir`] sees to `..` and the like,
/// but follows links.
async fn stays_inside(folder: &Path, path: &str) -> bool {
    let Some(path) = decode(path) else {
        return false;
    };
    let file = folder.join(path.trim_start_matches('/'));
    let (Ok(folder), Ok(file)) = tokio::join!(canonicalize(folder), canonicalize(&file)) else {
        // Nothing is there, and ServeDir will say so.
        return true;
    };
    // Of a folder, its page is what is read.
    let page = canonicalize(file.join("index.html")).await;
    file.starts_with(&folder) && page.map_or(true, |page| page.starts_with(&folder))
}

/// Undoes percent-encoding; `None` for what is no text then.
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let escaped = escaped.and_then(|hex| std::str::from_utf8(hex).ok());
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

/// Sends the caller to a path of the folder.
fn redirect(base: &str, path: &str, query: Option<&str>) -> Result<Response<Answer>, GatewayError> {
    // Two slashes at the beginning would name another host.
    let path = path.trim_start_matches('/');
    let query = query.map_or(String::new(), |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("{base}/{path}{query}"))
        .map_err(|_| GatewayError::BadRequest("the request has an invalid path"))?;
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
