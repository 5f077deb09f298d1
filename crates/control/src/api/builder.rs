//! OpenFaaS's builder: `/build` and `/publickey`, as its clients call them. There is no password
//! here: what is built is signed with the payload secret.

mod report;
mod request;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use hob_image::ImageOrder;
use hob_model::{FunctionName, port::Packing, wire::ImageEvent};
use http::{HeaderMap, StatusCode, header};
use serde::Serialize;
use tempfile::TempPath;
use tokio::time::timeout;

use super::{Access, audit::about, build::function_of, error::ApiError, stream, upload};
use crate::{
    Control,
    build::{ImageSource, PackedFolder},
    control::blocking,
    ending::Ending,
    events::{self, EventReader},
    remote_builds::{KeyError, Signature, Verifier},
    sealed::ALGORITHM,
};
use report::{Report, Reports};
use request::BuildRequest;

/// Where a build is asked for.
pub(super) const BUILD: &str = "/build";
/// Where the key is that build secrets are sealed for.
pub(super) const PUBLIC_KEY: &str = "/publickey";
/// The header with the HMAC of the body.
const SIGNATURE: &str = "x-build-signature";
/// Longest time that a body may take to come.
const RECEIVE_TIME: Duration = Duration::from_secs(10 * 60);

/// The key, as clients read it.
#[derive(Serialize)]
pub(super) struct PublicKeyAnswer {
    key_id: String,
    algorithm: &'static str,
    public_key: String,
}

/// Gives the key to anybody, as soon as there is a payload secret.
pub(super) async fn public_key(
    State(control): State<Arc<Control>>,
    Extension(access): Extension<Access>,
) -> Result<Json<PublicKeyAnswer>, ApiError> {
    verifier(&control, access).await?;
    let asked = Arc::clone(&control);
    let pair = blocking(&control.config.runtime, move || {
        asked.remote_builds.key_pair(&asked.secrets)
    });
    let pair = pair.await?;
    Ok(Json(PublicKeyAnswer {
        key_id: pair.id(),
        algorithm: ALGORITHM,
        public_key: pair.public_key(),
    }))
}

/// Takes a context and answers with reports of its build: the last one says how it went, and the
/// status is 200. Whoever signs wrongly gets a plain error. So does a mistake of the request, unless
/// reports are read as they come: those clients show no more of an error than its number.
pub(super) async fn build(
    State(control): State<Arc<Control>>,
    Extension(access): Extension<Access>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let verifier = verifier(&control, access).await?;
    let place = control.remote_builds.enter().ok_or(ApiError::ManyBuilds)?;
    let archive = receive(&control, verifier, &headers, body).await?;
    let as_they_come = wants_stream(&headers);
    let (name, order) = match read(&control, &archive).await {
        Err(error) if as_they_come => {
            let ending = Ending::told(StatusCode::BAD_REQUEST);
            let report = stream::one(Reports::refusal(&error));
            return Ok((Extension(ending), report).into_response());
        }
        read => read?,
    };
    about(&order.image);
    let reports = Reports::of(&order.image);
    let packing = Packing::Context;
    let folder = PackedFolder { archive, packing };
    let (events, reader) = events::channel();
    tokio::spawn(async move {
        control
            .build_image(name, ImageSource::Folder(folder), order, events)
            .await;
        drop(place);
    });
    let ending = Extension(reader.ending());
    Ok(match as_they_come {
        true => (ending, line_by_line(reports, reader)).into_response(),
        false => (ending, Json(reports.all(reader).await)).into_response(),
    })
}

/// Strangers are not told whether there is a builder.
async fn verifier(control: &Control, access: Access) -> Result<Verifier, ApiError> {
    let verifier = control.secret(|secrets| Ok(Verifier::new(secrets))).await?;
    verifier.map_err(|off| match access {
        Access::Local => ApiError::BuilderOff(off.to_string()),
        Access::Remote => ApiError::Unsigned,
    })
}

/// Brings the body to a file, which is gone again unless it was signed as it is.
async fn receive(
    control: &Control,
    mut verifier: Verifier,
    headers: &HeaderMap,
    body: Body,
) -> Result<TempPath, ApiError> {
    let signature = headers.get(SIGNATURE).and_then(|text| text.to_str().ok());
    let signature = signature.and_then(Signature::read);
    let signature = signature.ok_or(ApiError::Unsigned)?;
    let _turn = control.remote_builds.receiving().await;
    let keep = upload::keep(control, "context-".to_owned(), headers, body, |part| {
        verifier.update(part);
        Ok(())
    });
    let archive = timeout(RECEIVE_TIME, keep).await.map_err(|_| {
        let seconds = RECEIVE_TIME.as_secs();
        ApiError::TooSlow(format!("the context took more than {seconds} s to come"))
    })??;
    match verifier.accepts(&signature) {
        true => Ok(archive),
        false => Err(ApiError::Unsigned),
    }
}

/// Looks at what was signed, and no sooner.
async fn read(
    control: &Arc<Control>,
    archive: &TempPath,
) -> Result<(FunctionName, ImageOrder), ApiError> {
    let (archive, asked) = (archive.to_path_buf(), Arc::clone(control));
    let order = blocking(&control.config.runtime, move || {
        let request = BuildRequest::read(&archive)?;
        request.order(|| asked.remote_builds.key_pair(&asked.secrets))
    });
    let order = order.await?;
    Ok((function_of(&order.image)?, order))
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).into_iter();
    accepted.any(|value| {
        value
            .to_str()
            .is_ok_and(|text| text.contains(stream::NDJSON))
    })
}

fn line_by_line(reports: Reports, reader: EventReader<ImageEvent>) -> Response {
    let lines = futures_util::stream::unfold((reports, reader), |(reports, mut reader)| async {
        let event = reader.next().await?;
        let report = reports.one(event);
        Some((
            Ok::<Report, std::convert::Infallible>(report),
            (reports, reader),
        ))
    });
    stream::ndjson(lines)
}

impl From<KeyError> for ApiError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Secret(error) => Self::Secret(error),
            KeyError::Store(error) => Self::Store(error),
        }
    }
}
