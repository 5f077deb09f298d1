//! Uploads of blobs: whole, in chunks, or not at all since the blob is here already.

use std::sync::Arc;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hob_image::{Digest, ImageError};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::{
    Asking, CONTENT_DIGEST, RegistryError,
    error::range,
    on_disk,
    place::Repository,
    receive::{announced, receive},
    sessions::Taken,
};

/// The name of an upload, for clients that look for it apart from the address.
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// `POST`: begins an upload, or does all of it.
pub(super) async fn begin(
    mut asking: Asking,
    body: Body,
    repository: Repository,
) -> Result<Response, RegistryError> {
    // From whichever repository: there is one pool of blobs.
    if let Some(mount) = asking.asked.mount.take()
        && let Ok(digest) = mount.parse::<Digest>()
    {
        let wanted = digest.clone();
        let there = asking
            .stored(move |store| Ok(store.touch_blob(&wanted)))
            .await?;
        if there.is_some() {
            return Ok(created(&repository, &digest));
        }
    }
    let digest = asking.asked.digest.take();
    let digest = digest.map(|digest| digest.parse::<Digest>()).transpose()?;
    let blob = asking.stored(|store| store.new_blob()).await?;
    let sessions = &asking.here.registry.sessions;
    let id = sessions.begin(repository.clone(), blob)?;
    if let Some(digest) = digest {
        let taken = sessions.take(&repository, &id)?;
        let sessions = Arc::clone(sessions);
        let done = fill(asking, body, repository.clone(), taken, digest).await;
        if done.is_err() {
            // Nobody knows its name, so nobody could go on with it.
            let _ = sessions.cancel(&repository, &id);
        }
        return done;
    }
    Ok(progress(StatusCode::ACCEPTED, &repository, &id, 0))
}

/// `GET`: how much is here.
pub(super) fn show(
    asking: &Asking,
    repository: &Repository,
    id: &str,
) -> Result<Response, RegistryError> {
    let length = asking.here.registry.sessions.length(repository, id)?;
    Ok(progress(StatusCode::NO_CONTENT, repository, id, length))
}

/// `PATCH`: a chunk, or a stream of unknown length.
pub(super) async fn append(
    asking: Asking,
    body: Body,
    (repository, id): (Repository, String),
) -> Result<Response, RegistryError> {
    let mut taken = asking.here.registry.sessions.take(&repository, &id)?;
    let exactly = expected(&asking.parts.headers, &taken, &repository)?;
    let store = asking.store().clone();
    receive(&store, &mut taken, body, exactly).await?;
    let length = taken.length();
    // Before the answer, so that the next chunk finds it.
    drop(taken);
    Ok(progress(StatusCode::ACCEPTED, &repository, &id, length))
}

/// `PUT`: the last chunk, which may be empty, and the digest of all.
pub(super) async fn finish(
    mut asking: Asking,
    body: Body,
    (repository, id): (Repository, String),
) -> Result<Response, RegistryError> {
    let digest = asking.asked.digest.take();
    let digest = digest.ok_or_else(|| RegistryError::Digest("the query has no digest".into()))?;
    let digest = digest.parse::<Digest>()?;
    let taken = asking.here.registry.sessions.take(&repository, &id)?;
    fill(asking, body, repository, taken, digest).await
}

/// `DELETE`: thrown away.
pub(super) fn cancel(
    asking: &Asking,
    repository: &Repository,
    id: &str,
) -> Result<Response, RegistryError> {
    asking.here.registry.sessions.cancel(repository, id)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Takes what is left of an upload, and makes it a blob.
async fn fill(
    asking: Asking,
    body: Body,
    repository: Repository,
    mut taken: Taken,
    digest: Digest,
) -> Result<Response, RegistryError> {
    let exactly = expected(&asking.parts.headers, &taken, &repository)?;
    let store = asking.store().clone();
    receive(&store, &mut taken, body, exactly).await?;
    let id = taken.id.clone();
    let blob = taken.finish().ok_or(RegistryError::NoUpload(id))?;
    let wanted = digest.clone();
    match on_disk(move || blob.commit(Some(&wanted))).await {
        Ok(_) => Ok(created(&repository, &digest)),
        Err(error @ ImageError::Damaged { .. }) => Err(RegistryError::Digest(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// How long the body has to be, if that is known; refuses a chunk that is not the next one.
fn expected(
    headers: &HeaderMap,
    taken: &Taken,
    repository: &Repository,
) -> Result<Option<u64>, RegistryError> {
    let announced = announced(headers);
    let Some(chunk) = headers.get(header::CONTENT_RANGE) else {
        return Ok(announced);
    };
    let chunk = chunk.to_str().ok().and_then(parse_range);
    match chunk {
        Some((start, end)) if start == taken.length() && start <= end => {
            let length = end - start + 1;
            match announced {
                Some(other) if other != length => Err(RegistryError::Size(format!(
                    "Content-Range says {length} bytes, Content-Length {other}"
                ))),
                _ => Ok(Some(length)),
            }
        }
        _ => Err(RegistryError::Order {
            length: taken.length(),
            location: location(repository, &taken.id),
        }),
    }
}

/// `START-END`; some write it as HTTP does elsewhere, `bytes START-END/LENGTH`.
fn parse_range(text: &str) -> Option<(u64, u64)> {
    let text = text.strip_prefix("bytes ").unwrap_or(text);
    let text = text.split('/').next()?;
    let (start, end) = text.split_once('-')?;
    let end = end.parse::<u64>().ok().filter(|end| *end < u64::MAX)?;
    Some((start.parse().ok()?, end))
}

fn location(repository: &Repository, id: &str) -> String {
    format!("/v2/{repository}/blobs/uploads/{id}")
}

fn progress(status: StatusCode, repository: &Repository, id: &str, length: u64) -> Response {
    let headers = [
        (header::LOCATION, location(repository, id)),
        (header::RANGE, range(length)),
        (UPLOAD_ID, id.to_owned()),
    ];
    (status, headers).into_response()
}

fn created(repository: &Repository, digest: &Digest) -> Response {
    let headers = [
        (header::LOCATION, format!("/v2/{repository}/blobs/{digest}")),
        (CONTENT_DIGEST, digest.to_string()),
    ];
    (StatusCode::CREATED, headers).into_response()
}
