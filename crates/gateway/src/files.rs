use std::path::Path;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use tower::ServiceExt;
use tower_http::services::ServeDir;

use crate::{body::Answer, call::Call, error::GatewayError, path::FunctionPath};

/// Answers a call of a function that is a folder of files: ranges, conditional requests, HEAD
/// and `index.html` are [`ServeDir`]'s. It opens nothing outside the folder by `..`; links
/// inside it were checked when the folder was built.
pub(crate) async fn serve<B>(
    call: &Call,
    folder: &Path,
    request: Request<B>,
) -> Result<Response<Answer>, GatewayError> {
    let function = call.route.function.to_string();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(GatewayError::FilesOnly { function });
    }
    let Some(path) = FunctionPath::parse(request.uri()) else {
        return Err(GatewayError::BadRequest("the request has an invalid path"));
    };
    let base = format!("/function/{}", path.name);
    if path.is_bare() {
        // The page's relative links are relative to the folder, not to `/function/`.
        return redirect(&format!("{base}/{}", path.query()));
    }
    let mut inner = Request::new(Empty::<Bytes>::new());
    *inner.method_mut() = request.method().clone();
    *inner.uri_mut() = call.address.clone();
    *inner.headers_mut() = request.headers().clone();
    let served = ServeDir::new(folder).oneshot(inner).await;
    let response = served.unwrap_or_else(|never| match never {});
    let inside = response.headers().get(header::LOCATION);
    if let Some(inside) = inside.and_then(|location| location.to_str().ok()) {
        return redirect(&format!("{base}{inside}"));
    }
    let status = response.status();
    if status == StatusCode::NOT_FOUND {
        return Err(GatewayError::NoFile { function });
    }
    Ok(response.map(|body| Answer::Other(UnsyncBoxBody::new(body.map_err(Into::into)))))
}

fn redirect(location: &str) -> Result<Response<Answer>, GatewayError> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| GatewayError::BadRequest("the request has an invalid path"))?;
    let mut response = Response::new(Answer::empty());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
