use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    time::Duration,
};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use hob_image::{Digest, Removal};
use http::{HeaderMap, StatusCode, header};
use tokio::{sync::mpsc, time::timeout};

use super::{Asking, CONTENT_DIGEST, RegistryError};
use crate::control::on_disk;

/// How much of a blob is read at once, in bytes.
const READ_SIZE: u64 = 256 << 10;
/// Parts that wait for the client.
const AHEAD: usize = 2;
/// Longest wait for a client that takes nothing.
const STALL: Duration = Duration::from_secs(60);

/// `GET` and `HEAD`, whole or in part. Asking for a blob keeps it for an hour: who asks may be
/// about to push a manifest with it.
pub(super) async fn get(asking: Asking, digest: &str) -> Result<Response, RegistryError> {
    let digest = digest.parse::<Digest>()?;
    let wanted = digest.clone();
    let length = asking
        .stored(move |store| Ok(store.touch_blob(&wanted)))
        .await?;
    let length = length.ok_or_else(|| RegistryError::NoBlob(digest.to_string()))?;
    let part = range(&asking.parts.headers, length)?;
    let (start, end) = part.unwrap_or((0, length));
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    for (name, text) in [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, (end - start).to_string()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ] {
        // Digits and hex are fit for a header.
        headers.extend(text.parse().ok().map(|value| (name, value)));
    }
    if part.is_some() {
        let text = format!("bytes {start}-{}/{length}", end.saturating_sub(1));
        let value = text.parse().ok();
        headers.extend(value.map(|value| (header::CONTENT_RANGE, value)));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    if !asking.is_head() && start < end {
        let path = asking.store().blob_path(&digest);
        let opened = on_disk(move || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(start))?;
            Ok::<_, io::Error>(file)
        });
        let file = opened.await.map_err(|source| RegistryError::Io {
            action: "read the blob",
            source,
        })?;
        *response.body_mut() = stream_of(file, end - start);
    }
    Ok(response)
}

/// `DELETE`
pub(super) async fn delete(asking: Asking, digest: &str) -> Result<Response, RegistryError> {
    let digest = digest.parse::<Digest>()?;
    match remove(&asking, &digest, None).await? {
        Removal::Done => Ok(StatusCode::ACCEPTED.into_response()),
        Removal::Missing => Err(RegistryError::NoBlob(digest.to_string())),
        needed => Err(refusal(&digest, &needed)),
    }
}

/// Removes a blob, or a manifest of the repository `home`.
pub(super) async fn remove(
    asking: &Asking,
    digest: &Digest,
    home: Option<String>,
) -> Result<Removal, RegistryError> {
    let control = &asking.here.control;
    control.forget_ended().await?;
    let needed = control.needed_images();
    asking.store().remove(digest.clone(), home, needed).await
}

/// Says who needs it.
pub(super) fn refusal(digest: &Digest, needed: &Removal) -> RegistryError {
    RegistryError::Needed(match needed {
        Removal::Named(name) => format!("{digest} is part of `{name}`: delete that first"),
        _ => format!(
            "a function runs {digest} or can be rolled back to it: remove the function first"
        ),
    })
}

/// Start and end of the part that is asked for; `None` for all.
fn range(headers: &HeaderMap, length: u64) -> Result<Option<(u64, u64)>, RegistryError> {
    let asked = headers.get(header::RANGE).and_then(|it| it.to_str().ok());
    let asked = asked.and_then(|it| it.strip_prefix("bytes="));
    // Several parts, and what is no range, may be answered with all (RFC 9110, 14.2).
    let Some((start, end)) = asked.and_then(|it| it.split_once('-')) else {
        return Ok(None);
    };
    let (start, end) = match (start.parse::<u64>(), end.parse::<u64>()) {
        (Ok(start), Ok(end)) if start <= end => (start, end.saturating_add(1).min(length)),
        (Ok(start), Err(_)) if end.is_empty() => (start, length),
        (Err(_), Ok(last)) if start.is_empty() => (length.saturating_sub(last), length),
        _ => return Ok(None),
    };
    if start >= end {
        return Err(RegistryError::Range(length));
    }
    Ok(Some((start, end)))
}

/// The next `left` bytes of a file, read ahead of the client by a little, on threads that may
/// wait for the disk.
fn stream_of(mut file: File, mut left: u64) -> Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
    tokio::spawn(async move {
        while left > 0 {
            let most = left.min(READ_SIZE);
            let (back, part) = on_disk(move || {
                let part = read(&mut file, most);
                (file, part)
            })
            .await;
            file = back;
            left -= part.as_ref().map_or(left, |part| part.len() as u64);
            if !matches!(timeout(STALL, sender.send(part)).await, Ok(Ok(()))) {
                return; // gone, or as good as
            }
        }
    });
    Body::from_stream(stream::unfold(receiver, async |mut receiver| {
        let part = receiver.recv().await?;
        Some((part, receiver))
    }))
}

fn read(file: &mut File, most: u64) -> io::Result<Bytes> {
    let mut part = Vec::new();
    file.take(most).read_to_end(&mut part)?;
    if part.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(part.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_is_none_is_not() {
        let ask = |text: &str| {
            let headers = HeaderMap::from_iter([(header::RANGE, text.parse().expect(text))]);
            range(&headers, 10)
        };
        for (text, part) in [
            ("bytes=0-3", Some((0, 4))),
            ("bytes=4-", Some((4, 10))),
            ("bytes=8-99", Some((8, 10))),
            ("bytes=-3", Some((7, 10))),
            ("bytes=-99", Some((0, 10))),
            ("bytes=3-1", None),
            ("bytes=0-1,4-5", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(ask(text).expect(text), part, "{text}");
        }
        for text in ["bytes=10-", "bytes=-0"] {
            assert!(ask(text).is_err(), "{text}");
        }
    }
}
