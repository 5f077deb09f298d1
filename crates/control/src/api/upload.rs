use std::{io, path::PathBuf, sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream as streams};
use hob_model::{
    FunctionName, Settings,
    openfaas::{DEPLOYMENT_HEADER, FunctionDeployment},
    wire::DeployEvent,
};
use http::{HeaderMap, header};
use tempfile::{NamedTempFile, TempPath};
use tokio::{fs::File, io::AsyncWriteExt, time::timeout};

use super::{
    error::ApiError,
    refusals::{Bad, TooLarge, TooSlow},
    request::{Asked, Beside, NamedFunction},
    stream,
};
use crate::{
    Control,
    control::blocking,
    deploy::{Order, Precondition},
    events,
    origin::Origin,
    translate::translate,
};

/// Largest packed folder, in bytes.
const LARGEST: u64 = 256 << 20;
/// Largest deployment of a client of OpenFaaS beside a folder, in bytes; annotations can be long.
const LARGEST_DEPLOYMENT: usize = 1 << 20;
/// Longest wait for the next part of an upload.
const STALL: Duration = Duration::from_secs(60);
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Deploys a folder: a gzip-compressed tar.
///
/// Answers with the events of the deploy, a line each. Mistakes of the request itself are plain
/// errors; once the folder is here, the last event says how it went.
///
/// With the header `X-Hob-Deployment`, whose value is a number of bytes, the body begins with so
/// many bytes of JSON: a `FunctionDeployment`, which is laid over the folder's `hob.toml`. The
/// folder follows at once. (A header could not hold it: the head of a request has a bound.)
#[utoipa::path(put, path = "/hob/v1/functions/{name}", tag = "functions",
    params(NamedFunction, Beside), request_body(content_type = "application/octet-stream"),
    responses((status = 200, body = DeployEvent, content_type = stream::NDJSON), Bad, TooSlow, TooLarge))]
pub(super) async fn deploy(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Asked(Beside { canary }): Asked<Beside>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let (over, body) = deployment(&headers, body).await?;
    let archive = receive(&control, &name, &headers, body).await?;
    let (events, reader) = events::channel();
    let order = Order {
        origin: Origin::Folder { archive, over },
        precondition: Precondition::Any,
        canary,
    };
    tokio::spawn(control.deploy(name, order, events));
    Ok(stream::events(reader))
}

/// The deployment at the beginning of a body, and the rest of it.
async fn deployment(
    headers: &HeaderMap,
    body: Body,
) -> Result<(Option<Box<FunctionDeployment>>, Body), ApiError> {
    let Some(length) = headers.get(DEPLOYMENT_HEADER) else {
        return Ok((None, body));
    };
    let length = length.to_str().ok().and_then(|text| text.parse().ok());
    let Some(length) = length.filter(|length| *length <= LARGEST_DEPLOYMENT) else {
        return Err(ApiError::Bad(format!(
            "{DEPLOYMENT_HEADER} must be the length of a deployment in bytes, at most {LARGEST_DEPLOYMENT}"
        )));
    };
    let mut parts = body.into_data_stream();
    let mut start = Vec::with_capacity(length);
    while start.len() < length {
        match timeout(STALL, parts.next()).await.map_err(|_| stalled())? {
            Some(part) => start.extend(part.map_err(broken)?),
            None => break,
        }
    }
    let rest = start.split_off(start.len().min(length));
    match read_deployment(&start) {
        Ok(asked) => {
            let rest = streams::iter([Ok(Bytes::from(rest))]).chain(parts);
            Ok((Some(Box::new(asked)), Body::from_stream(rest)))
        }
        Err(error) => {
            // Whoever still writes when the connection closes does not get to read the answer.
            let mut left = LARGEST;
            while let Ok(Some(Ok(part))) = timeout(STALL, parts.next()).await {
                left = left.saturating_sub(part.len() as u64);
                if left == 0 {
                    break;
                }
            }
            Err(error)
        }
    }
}

fn read_deployment(text: &[u8]) -> Result<FunctionDeployment, ApiError> {
    let asked: FunctionDeployment = serde_json::from_slice(text)
        .map_err(|error| ApiError::Bad(format!("{DEPLOYMENT_HEADER}: {error}")))?;
    // Its mistakes are told before anything is built.
    translate(asked.clone(), &Settings::default())?;
    Ok(asked)
}

/// Brings the body to a file, which is gone again as soon as anything goes wrong.
pub(super) async fn receive(
    control: &Control,
    name: &FunctionName,
    headers: &HeaderMap,
    body: Body,
) -> Result<TempPath, ApiError> {
    let mut start = Vec::new();
    let path = keep(control, format!("upload-{name}-"), headers, body, |part| {
        start.extend(part.iter().take(GZIP.len() - start.len()));
        GZIP.starts_with(&start).then_some(()).ok_or_else(no_gzip)
    });
    let path = path.await?;
    (start == GZIP).then_some(path).ok_or_else(no_gzip)
}

/// Brings the body to a file, and shows each part of it to `see` before it is written.
pub(super) async fn keep(
    control: &Control,
    prefix: String,
    headers: &HeaderMap,
    body: Body,
    see: impl FnMut(&[u8]) -> Result<(), ApiError>,
) -> Result<TempPath, ApiError> {
    let announced = headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LARGEST) {
        return Err(too_large());
    }
    let scratch = control.scratch();
    let file = blocking(&control.config.runtime, move || make_file(scratch, &prefix)).await;
    let (file, path) = file.map_err(failed(control))?.into_parts();
    write(control, File::from_std(file), body, see).await?;
    Ok(path)
}

async fn write(
    control: &Control,
    mut file: File,
    body: Body,
    mut see: impl FnMut(&[u8]) -> Result<(), ApiError>,
) -> Result<(), ApiError> {
    let mut parts = body.into_data_stream();
    let mut length = 0;
    loop {
        let part = timeout(STALL, parts.next()).await.map_err(|_| stalled())?;
        let Some(part) = part else { break };
        let part: Bytes = part.map_err(broken)?;
        length += part.len() as u64;
        if length > LARGEST {
            return Err(too_large());
        }
        see(&part)?;
        file.write_all(&part).await.map_err(failed(control))?;
    }
    file.flush().await.map_err(failed(control))
}

fn make_file(scratch: PathBuf, prefix: &str) -> io::Result<NamedTempFile> {
    std::fs::create_dir_all(&scratch)?;
    tempfile::Builder::new()
        .prefix(prefix)
        .suffix(".tar")
        .tempfile_in(scratch)
}

fn no_gzip() -> ApiError {
    ApiError::Bad(
        "the body is no gzip-compressed tar of a folder: use `hob deploy`, or `tar -cz -C DIR .`"
            .into(),
    )
}

fn too_large() -> ApiError {
    ApiError::TooLarge(format!(
        "the packed folder is over {} MiB: leave out what is not needed with a .hobignore",
        LARGEST >> 20
    ))
}

fn broken(error: axum::Error) -> ApiError {
    ApiError::Bad(format!("the upload did not arrive whole: {error}"))
}

fn stalled() -> ApiError {
    ApiError::TooSlow(format!("the upload stood still for {} s", STALL.as_secs()))
}

fn failed(control: &Control) -> impl FnOnce(io::Error) -> ApiError {
    let path = control.scratch();
    move |source| ApiError::Io {
        action: "keep the upload in",
        path,
        source,
    }
}
