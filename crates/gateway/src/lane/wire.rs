use std::{
    io,
    os::fd::OwnedFd,
    task::{Context, Poll, Waker, ready},
};

use hob_model::Endpoint;
use rustix::{
    buffer::spare_capacity,
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    buffers::BUFFER_BYTES, outlet::Outlet, pool::Reusable, retry::Contact, upstream::is_quiet,
};

/// One connection to a replica, with nothing between the lane and its bytes.
///
/// It listens for news to read only. A unix socket says that it can be written to whenever the
/// other side has read something, so a usual one would wake the gateway at the moment when the
/// replica has just begun to work, and take its processor away.
pub(crate) struct Wire {
    socket: AsyncFd<OwnedFd>,
    /// While the socket takes no more bytes: waits until it does.
    full: Option<AsyncFd<OwnedFd>>,
    /// Calls that were answered over it.
    answers: u32,
    /// Whether the last request went out in part only.
    spoiled: bool,
    /// Whether more may come after the last answer than it should have had.
    doubted: bool,
}

impl Wire {
    pub(super) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let socket = Outlet::connect(endpoint).await?.into_socket()?;
        Ok(Self {
            socket: listen(socket, Interest::READABLE)?,
            full: None,
            answers: 0,
            spoiled: false,
            doubted: false,
        })
    }

    /// The rest of the request will not be sent: no other may follow it.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// The answer has no body; some servers send one all the same.
    pub(super) fn doubt(&mut self) {
        self.doubted = true;
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

    /// Whether it has carried an answer before.
    pub(super) fn contact(&self) -> Contact {
        match self.answers {
            0 => Contact::New,
            _ => Contact::Kept,
        }
    }

    /// Ready when there is something to read, as far as is known.
    pub(super) fn poll_news(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx).map_ok(|_| ())
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                ready!(full.poll_write_ready(cx))?.clear_ready();
            }
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN) if self.full.is_none() => {
                    let again = self.socket.get_ref().try_clone()?;
                    self.full = Some(listen(again, Interest::WRITABLE)?);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                sent => {
                    self.full = None;
                    return Poll::Ready(sent.map_err(Into::into));
                }
            }
        }
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
        loop {
            let mut news = ready!(self.socket.poll_read_ready(cx))?;
            let room = into.capacity() - into.len();
            match recv(&self.socket, spare_capacity(into), RecvFlags::empty()) {
                Ok((_, bytes)) => {
                    // That was all: the next bytes are news again.
                    if bytes > 0 && bytes < room {
                        news.clear_ready();
                    }
                    return Poll::Ready(Ok(bytes));
                }
                Err(Errno::AGAIN) => news.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe, for descriptors that somebody else may close; this one is owned"
)]
fn listen(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(socket, interest)
}

impl Reusable for Wire {
    fn is_reusable(&mut self) -> bool {
        // Nobody waits for an idle connection, so news of it may still be in the kernel, which
        // is asked where there is reason to.
        let mut nobody = Context::from_waker(Waker::noop());
        let news = self.socket.poll_read_ready(&mut nobody).is_ready();
        let doubted = std::mem::take(&mut self.doubted);
        let asked = news || doubted || self.is_unproven();
        !self.spoiled && (!asked || is_quiet(self.socket.get_ref()))
    }
}
