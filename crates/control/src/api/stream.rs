use std::{convert::Infallible, io};

use axum::{
    Extension,
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use hob_model::port::EngineError;
use http::header;
use serde::Serialize;

use crate::events::{Event, EventReader};

/// A JSON value a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// Events of a deploy or a build, a line each, sent as they come.
pub(super) fn events<E: Event + Serialize + Send + 'static>(reader: EventReader<E>) -> Response {
    let ending = reader.ending();
    let lines = ndjson(stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<_, Infallible>(event), reader))
    }));
    (Extension(ending), lines).into_response()
}

/// Log lines, a line each, sent as they come. An error in between breaks the connection off,
/// so that a cut log is never taken for a whole one.
pub(super) fn log_lines<T>(
    lines: impl Stream<Item = Result<T, EngineError>> + Send + 'static,
) -> Response
where
    T: Serialize + 'static,
{
    ndjson(lines.map(|line| {
        line.inspect_err(|error| tracing::error!("reading a log ended early: {error}"))
    }))
}

/// All there is to say, in one line.
pub(super) fn one<T: Serialize + Send + 'static>(item: T) -> Response {
    ndjson(stream::iter([Ok::<_, Infallible>(item)]))
}

pub(super) fn ndjson<T, E>(items: impl Stream<Item = Result<T, E>> + Send + 'static) -> Response
where
    T: Serialize,
    E: std::error::Error + Send + Sync + 'static,
{
    let lines = items.map(|item| match item {
        Ok(item) => line(&item),
        Err(error) => Err(io::Error::other(error)),
    });
    let kind = [(header::CONTENT_TYPE, NDJSON)];
    (kind, Body::from_stream(lines)).into_response()
}

fn line(item: &impl Serialize) -> io::Result<Bytes> {
    let mut line = serde_json::to_vec(item)?;
    line.push(b'\n');
    Ok(line.into())
}
