//! Images as archives, in and out.

use std::{io, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use hob_image::{ImageError, ImageRef};
use http::header;
use serde::Deserialize;
use tokio::{
    io::{AsyncWriteExt, duplex},
    time::timeout,
};
use tokio_util::io::{StreamReader, SyncIoBridge};
use utoipa::IntoParams;

use super::{
    audit::about,
    error::ApiError,
    images::parse,
    outgoing::{self, BUFFER, STALL, stalled},
    refusals::{Bad, Conflict, Missing, TooSlow},
    request::Asked,
};
use crate::{Control, control::blocking};

/// An archive.
const TAR: &str = "application/x-tar";

/// Which images to save: their names with commas between them.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Names of images with commas between them.
    #[param(min_length = 1)]
    image: String,
}

/// Under which name to load the one image of an archive.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Given {
    /// The name that the one image of the archive gets; else those that the archive gives.
    image: Option<String>,
}

/// Saves images as a tar of an OCI layout.
///
/// When something goes wrong in the middle the answer breaks off, so that nobody takes a part for
/// the whole.
#[utoipa::path(get, path = "/hob/v1/images/archive", tag = "images", params(Wanted),
    responses((status = 200, content_type = TAR), Bad, Missing, Conflict))]
pub(super) async fn save(
    State(control): State<Arc<Control>>,
    Asked(Wanted { image }): Asked<Wanted>,
) -> Result<Response, ApiError> {
    let names = image.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    let hold = control.images.store.hold().await;
    if let Some(missing) = missing(&control, &names).await {
        return Err(ImageError::NotHere(missing).into());
    }
    let store = Arc::clone(&control.images.store);
    let body = outgoing::written("an archive of images", move |mut out| {
        let saved = store.save(&names, &mut out);
        drop(hold);
        saved
    });
    let kind = [(header::CONTENT_TYPE, TAR)];
    Ok((kind, body).into_response())
}

/// Loads the images of an archive.
///
/// Answers with the names that they have here.
#[utoipa::path(post, path = "/hob/v1/images/archive", tag = "images", params(Given),
    request_body(content_type = "application/octet-stream"),
    responses((status = 200, body = [String]), Bad, TooSlow, Conflict))]
pub(super) async fn load(
    State(control): State<Arc<Control>>,
    Asked(Given { image }): Asked<Given>,
    body: Body,
) -> Result<Json<Vec<String>>, ApiError> {
    let name = image.as_deref().map(parse).transpose()?;
    let hold = control.images.store.hold().await;
    let parts = body
        .into_data_stream()
        .map(|part| part.map_err(io::Error::other));
    let (mut ours, theirs) = duplex(BUFFER);
    let store = Arc::clone(&control.images.store);
    let loading = tokio::task::spawn_blocking(move || {
        let loaded = store.load(SyncIoBridge::new(theirs), name.as_ref());
        drop(hold);
        loaded
    });
    let mut parts = StreamReader::new(Box::pin(stalling(parts)));
    // When the loading side has heard enough, its own word is the one that counts.
    let copied = tokio::io::copy(&mut parts, &mut ours).await;
    let whole = match copied {
        Ok(_) => ours.shutdown().await,
        Err(error) => Err(error),
    };
    drop(ours);
    let loaded = match loading.await {
        Ok(Ok(loaded)) => loaded,
        Ok(Err(refused)) => return Err(archive_error(refused, whole.err())),
        Err(_) => return Err(ApiError::Panic),
    };
    let names = loaded.iter().map(|tagged| tagged.name.to_string());
    let names: Vec<String> = names.collect();
    about(names.join(","));
    Ok(Json(names))
}

fn archive_error(refused: ImageError, broken: Option<io::Error>) -> ApiError {
    match broken.filter(|error| error.kind() == io::ErrorKind::TimedOut) {
        Some(stalled) => ApiError::TooSlow(stalled.to_string()),
        None => refused.into(),
    }
}

/// The same parts, but an error when the next does not come.
fn stalling(
    parts: impl futures_util::Stream<Item = io::Result<bytes::Bytes>> + Send + 'static,
) -> impl futures_util::Stream<Item = io::Result<bytes::Bytes>> {
    futures_util::stream::unfold(Box::pin(parts), |mut parts| async move {
        match timeout(STALL, parts.next()).await {
            Ok(part) => part.map(|part| (part, parts)),
            Err(_) => Some((Err(stalled()), parts)),
        }
    })
}

async fn missing(control: &Control, names: &[ImageRef]) -> Option<ImageRef> {
    let (store, names) = (Arc::clone(&control.images.store), names.to_vec());
    let look = move || names.into_iter().find(|name| store.tagged(name).is_none());
    blocking(&control.config.runtime, look).await
}
