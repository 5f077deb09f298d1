use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use hob_model::Endpoint;
use tokio::io::AsyncWrite;
use tokio_util::io::poll_read_buf;

use crate::{buffers::BUFFER_BYTES, outlet::Outlet, pool::Reusable, upstream::is_quiet};

/// One connection to a replica, with nothing between the lane and its bytes.
pub(crate) struct Wire {
    outlet: Outlet,
    /// Calls that were answered over it.
    answers: u32,
}

impl Wire {
    pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let outlet = Outlet::connect(endpoint).await?;
        Ok(Self { outlet, answers: 0 })
    }

    /// Counts an answer that came whole.
    pub(super) fn answered(&mut self) {
        self.answers = self.answers.saturating_add(1);
    }

    /// Whether the replica may be about to close it: some servers close after each answer and
    /// do not say so. One that has kept a connection once will keep it again.
    pub(super) fn is_unproven(&self) -> bool {
        self.answers == 1
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.outlet).poll_write(cx, bytes)
    }

    /// Appends what has come; 0 bytes are the end.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        if into.len() == into.capacity() {
            into.reserve(BUFFER_BYTES);
        }
        poll_read_buf(Pin::new(&mut self.outlet), cx, into)
    }
}

impl Reusable for Wire {
    fn is_reusable(&mut self) -> bool {
        // Nobody waits for an idle connection, so news of it may still be in the kernel, which
        // is asked where there is reason to.
        let mut nobody = Context::from_waker(Waker::noop());
        let news = self.outlet.poll_read_ready(&mut nobody).is_ready();
        !(news || self.is_unproven()) || is_quiet(&self.outlet)
    }
}
