//! Bodies on their way to the disk.

use std::{io::Write, sync::Arc, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use futures_util::StreamExt;
use hob_image::ImageStore;
use http::{HeaderMap, header};
use tokio::time::timeout;

use super::{RegistryError, sessions::Taken};
use crate::control::on_disk;

/// Longest wait for the next part of a body.
const STALL: Duration = Duration::from_secs(60);
/// How much is put into the file at once, in bytes: all that an upload takes of memory.
const WRITE_SIZE: usize = 1 << 20;
/// How much of a body that is refused is still read, in bytes, so that the client sees why.
const DRAIN_MAX: u64 = 64 << 20;

/// Adds a body to an upload; with `exactly`, it must have so many bytes.
///
/// # Errors
/// What came until then is part of the upload.
pub(super) async fn receive(
    store: &Arc<ImageStore>,
    taken: &mut Taken,
    body: Body,
    exactly: Option<u64>,
) -> Result<(), RegistryError> {
    store.check_room("the upload", exactly.unwrap_or(0))?;
    let most = exactly.unwrap_or(u64::MAX);
    let (mut parts, mut came) = (body.into_data_stream(), 0);
    let mut waiting = Vec::new();
    loop {
        let part = match timeout(STALL, parts.next()).await {
            Ok(None) => break,
            Ok(Some(Ok(part))) => part,
            broken => {
                write(store, taken, waiting).await?;
                return Err(RegistryError::Upload(match broken {
                    Ok(_) => "the upload broke off".into(),
                    Err(_) => format!("the upload stood still for {} s", STALL.as_secs()),
                }));
            }
        };
        came += part.len() as u64;
        if came > most {
            // Its digest can only be wrong now.
            taken.blob = None;
            return Err(wrong_size(came, most));
        }
        waiting.extend_from_slice(&part);
        if waiting.len() >= WRITE_SIZE {
            waiting = write(store, taken, waiting).await?;
        }
    }
    write(store, taken, waiting).await?;
    match exactly {
        Some(most) if came != most => Err(wrong_size(came, most)),
        _ => Ok(()),
    }
}

/// The length that a request says its body has.
pub(super) fn announced(headers: &HeaderMap) -> Option<u64> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// The whole body, in memory.
pub(super) async fn small(body: Body, most: u64) -> Result<Bytes, RegistryError> {
    let (mut parts, mut came, mut whole) = (body.into_data_stream(), 0, Vec::new());
    loop {
        let part = timeout(STALL, parts.next()).await;
        let part = part.map_err(|_| RegistryError::Upload("the body stood still".into()))?;
        let Some(part) = part else { break };
        let part: Bytes =
            part.map_err(|_| RegistryError::Upload("the body did not arrive whole".into()))?;
        came += part.len() as u64;
        if came <= most {
            whole.extend_from_slice(&part);
        } else if came > DRAIN_MAX {
            break;
        }
    }
    if came > most {
        return Err(RegistryError::TooLarge(most));
    }
    Ok(whole.into())
}

/// Writes to the file, and gives the buffer back, empty.
async fn write(
    store: &Arc<ImageStore>,
    taken: &mut Taken,
    mut bytes: Vec<u8>,
) -> Result<Vec<u8>, RegistryError> {
    let Some(mut blob) = taken.blob.take() else {
        return Err(RegistryError::NoUpload(taken.id.clone()));
    };
    let store = Arc::clone(store);
    let (blob, written) = on_disk(move || {
        let written = store
            .check_room("the upload", bytes.len() as u64)
            .map_err(RegistryError::from)
            .and_then(|()| blob.write_all(&bytes).map_err(failed));
        bytes.clear();
        (blob, written.map(|()| bytes))
    })
    .await;
    // What could not be written is not counted either: the client may go on later.
    taken.blob = Some(blob);
    written
}

fn failed(source: std::io::Error) -> RegistryError {
    RegistryError::Io {
        action: "keep the upload",
        source,
    }
}

fn wrong_size(came: u64, announced: u64) -> RegistryError {
    RegistryError::Size(format!(
        "{came} bytes came where {announced} were announced"
    ))
}
