//! Calls by the inner door: the data plane routes, wakes and times them as it does all others.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hob_model::port::Dial;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

/// What came back.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// As much of it as was to be kept.
    pub(super) body: Vec<u8>,
    /// Whether it was longer.
    pub(super) cut: bool,
}

/// Sends a request and reads the answer, keeping at most `most` bytes of its body.
///
/// # Errors
/// What went wrong, in words.
pub(super) async fn exchange(
    dial: &Arc<dyn Dial>,
    request: Request<Full<Bytes>>,
    most: usize,
    limit: Duration,
) -> Result<Reply, String> {
    match timeout(limit, send(dial, request, most)).await {
        Ok(reply) => reply,
        Err(_) => Err(format!("no whole answer in {} s", limit.as_secs())),
    }
}

async fn send(
    dial: &Arc<dyn Dial>,
    request: Request<Full<Bytes>>,
    most: usize,
) -> Result<Reply, String> {
    let words = |error: &dyn std::fmt::Display| format!("the call broke off: {error}");
    let stream = dial.dial().and_then(UnixStream::from_std);
    let stream = stream.map_err(|error| words(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| words(&error))?;
    // It ends with the sender.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    let (head, mut rest) = answer.map_err(|error| words(&error))?.into_parts();
    let (mut body, mut cut) = (Vec::new(), false);
    // Read to its end also where it is too long: the function did its work.
    while let Some(frame) = rest.frame().await {
        let frame = frame.map_err(|error| format!("its answer broke off: {error}"))?;
        if let Some(data) = frame.data_ref() {
            let room = most - body.len();
            cut |= data.len() > room;
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(Reply {
        status: head.status,
        headers: head.headers,
        body,
        cut,
    })
}
