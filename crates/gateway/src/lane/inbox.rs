use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::net::TcpStream;
use tokio_util::io::poll_read_buf;

use crate::buffers::{Buffer, Buffers};

/// Bytes of a caller that have not been dealt with.
#[derive(Default)]
pub(super) struct Inbox {
    /// `None` while nothing is here.
    buffer: Option<Buffer>,
    /// Where in the buffer they begin.
    start: usize,
    /// Since when a request is half here.
    begun: Option<Instant>,
    /// Since when only its body is not all here.
    body_begun: Option<Instant>,
}

impl Inbox {
    pub(super) fn holding(bytes: &[u8], buffers: &Rc<Buffers>) -> Self {
        let mut buffer = buffers.take();
        buffer.extend_from_slice(bytes);
        Self {
            buffer: Some(buffer),
            ..Self::default()
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .map_or(&[], |buffer| &buffer[self.start..])
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Since when a request is half here; asked when more of it is waited for.
    pub(super) fn begun(&mut self) -> Option<Instant> {
        if !self.is_empty() {
            self.begun.get_or_insert_with(Instant::now);
        }
        self.begun
    }

    /// Since when only a request's body is not all here; asked when more of it is waited for.
    pub(super) fn body_begun(&mut self) -> Instant {
        *self.body_begun.get_or_insert_with(Instant::now)
    }

    /// Forgets the first bytes, which were a whole request.
    pub(super) fn take(&mut self, bytes: usize) {
        self.start += bytes;
        self.begun = None;
        self.body_begun = None;
        if self.is_empty() {
            self.buffer = None;
            self.start = 0;
        }
    }

    /// Reads what has come; 0 bytes are the end. Waits without a buffer.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut TcpStream,
        buffers: &Rc<Buffers>,
    ) -> Poll<io::Result<usize>> {
        if self.buffer.is_none() {
            ready!(stream.poll_read_ready(cx))?;
        }
        let buffer = self.buffer.get_or_insert_with(|| buffers.take());
        buffer.drain(..std::mem::take(&mut self.start));
        poll_read_buf(Pin::new(stream), cx, &mut **buffer)
    }
}
