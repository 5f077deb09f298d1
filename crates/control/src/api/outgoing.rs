//! Archives that are written while they are sent.

use std::{io, time::Duration};

use axum::body::Body;
use futures_util::StreamExt;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    runtime::Handle,
    sync::oneshot,
    time::timeout,
};
use tokio_util::io::ReaderStream;

/// Bytes of an archive between the disk and the connection.
pub(super) const BUFFER: usize = 256 << 10;
/// Longest wait for the next part of an archive.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// The writing end of an archive, for a thread that may wait, but not for ever: what is sent
/// cannot be pruned meanwhile.
pub(super) struct Outgoing {
    pipe: DuplexStream,
    handle: Handle,
}

/// A body that `write` writes on a thread that may block. When that fails in the middle the answer
/// breaks off, so that nobody takes a part for the whole; `what` names it in the log.
pub(super) fn written<E: std::fmt::Display + 'static>(
    what: &'static str,
    write: impl FnOnce(Outgoing) -> Result<(), E> + Send + 'static,
) -> Body {
    let (ours, theirs) = duplex(BUFFER);
    let (told, outcome) = oneshot::channel();
    let handle = Handle::current();
    tokio::task::spawn_blocking(move || {
        let written = write(Outgoing { pipe: ours, handle });
        let written = written.map_err(|error| error.to_string());
        if let Err(error) = &written {
            tracing::warn!(%error, "{what} broke off");
        }
        // Nobody waits any more when the caller has gone.
        let _ = told.send(written);
    });
    let archive = ReaderStream::with_capacity(theirs, BUFFER);
    let end = futures_util::stream::once(async move {
        match outcome.await {
            Ok(Ok(())) => Ok(bytes::Bytes::new()),
            Ok(Err(error)) => Err(io::Error::other(error)),
            Err(_) => Err(io::Error::other(format!("{what} broke off"))),
        }
    });
    Body::from_stream(archive.chain(end))
}

// === impl Outgoing ===

impl io::Write for Outgoing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Self { pipe, handle } = self;
        let written = handle.block_on(async { timeout(STALL, pipe.write(bytes)).await });
        written.unwrap_or_else(|_| Err(stalled()))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn stalled() -> io::Error {
    let text = format!("the archive stood still for {} s", STALL.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}
