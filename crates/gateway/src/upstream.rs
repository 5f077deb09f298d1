use std::{
    future::{Future, poll_fn},
    os::fd::{AsFd, OwnedFd},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Instant,
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};

use crate::{body::RequestBody, outlet::Outlet, pool::Reusable, timer::LazyTimer};

/// One HTTP/1.1 connection to a replica.
///
/// The connection has no task of its own: whoever uses it polls it, so a call runs from socket
/// to socket in one task, and dropping the call closes the connection at once. Idle ones are
/// not polled at all; [`Reusable::is_reusable`] catches up on what happened meanwhile.
pub(crate) struct Upstream {
    sender: http1::SendRequest<RequestBody>,
    connection: http1::Connection<TokioIo<Outlet>, RequestBody>,
    closed: bool,
    /// The socket once more, until the connection has been used a second time.
    first_look: Option<OwnedFd>,
    timer: LazyTimer,
}

/// Why an exchange gave no answer.
pub(crate) enum ExchangeError {
    /// Nothing was sent; the request is whole and can go elsewhere.
    Unsent(Box<Request<RequestBody>>),
    /// The connection broke after the request, or a part of it, was sent.
    Broken(hyper::Error),
    /// The deadline passed.
    Overdue,
}

impl Upstream {
    /// Speaks HTTP over `outlet`.
    pub(crate) async fn new(
        builder: &http1::Builder,
        outlet: Outlet,
        deadline: Instant,
    ) -> hyper::Result<Self> {
        let first_look = outlet.duplicate().ok();
        let (sender, connection) = builder.handshake(TokioIo::new(outlet)).await?;
        Ok(Self {
            sender,
            connection,
            closed: false,
            first_look,
            timer: LazyTimer::new(deadline),
        })
    }

    /// Sends `request` and waits for the head of its answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<RequestBody>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ExchangeError> {
        let Self {
            sender,
            connection,
            closed,
            timer,
            ..
        } = self;
        let mut answer = pin!(sender.try_send_request(request));
        poll_fn(|cx| {
            // First the connection: it moves the bytes that the answer waits for.
            if !*closed {
                *closed = Pin::new(&mut *connection).poll(cx).is_ready();
            }
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer.map_err(ExchangeError::from));
            }
            timer
                .poll(cx, deadline)
                .map(|()| Err(ExchangeError::Overdue))
        })
        .await
    }

    /// Moves bytes in both directions, as far as they go without waiting.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if !self.closed {
            self.closed = Pin::new(&mut self.connection).poll(cx).is_ready();
        }
    }

    /// Whether the exchange is over in both directions, now that all bytes have moved.
    pub(crate) fn has_settled(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        self.is_idle()
    }

    /// Whether the replica has left the connection open after its first answer.
    ///
    /// Some servers close after each answer and do not say so, and the news may still be in the
    /// kernel when the next call is here. So the kernel is asked, once: a server that has kept
    /// a connection before will keep it again.
    fn is_kept(&mut self) -> bool {
        self.first_look
            .take()
            .is_none_or(|socket| is_quiet(&socket))
    }

    /// Whether the exchange is over in both directions, without looking at the socket.
    pub(crate) fn is_idle(&self) -> bool {
        !self.closed && self.sender.is_ready()
    }
}

impl Reusable for Box<Upstream> {
    fn is_reusable(&mut self) -> bool {
        self.is_kept() && self.has_settled()
    }
}

/// Whether nothing has come over an idle connection, not even its end.
pub(crate) fn is_quiet(socket: impl AsFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    matches!(recv(socket, &mut [0_u8; 1], flags), Err(Errno::AGAIN))
}

impl From<TrySendError<Request<RequestBody>>> for ExchangeError {
    fn from(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Box::new(request)),
            None => Self::Broken(error.into_error()),
        }
    }
}
