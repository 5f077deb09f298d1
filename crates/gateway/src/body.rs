use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::{
    AnswerBody, BoxError,
    access::Pending,
    answer::ReplicaAnswer,
    client::{Client, Entered},
};

/// The body of a call on its way to a replica. Streams; stops at the route's limit.
pub(crate) struct RequestBody {
    /// `None` where there is none and never was.
    incoming: Option<Incoming>,
    /// Bytes that may still pass.
    left: u64,
    /// Whether the last frame has passed.
    ended: bool,
    client: Rc<Client>,
}

/// The body of a call passed its limit. Found again in the error of the connection that it
/// was being sent over.
#[derive(Debug, thiserror::Error)]
#[error("the request body is over its limit")]
pub(crate) struct OverLimit;

impl RequestBody {
    /// Lets at most `limit` bytes pass.
    pub(crate) fn new(incoming: Incoming, limit: u64, client: &Rc<Client>) -> Self {
        Self {
            ended: incoming.is_end_stream(),
            incoming: Some(incoming),
            left: limit,
            client: Rc::clone(client),
        }
    }

    /// No body.
    pub(crate) fn empty(client: &Rc<Client>) -> Self {
        Self {
            incoming: None,
            left: 0,
            ended: true,
            client: Rc::clone(client),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
        let Some(frame) = frame.transpose()? else {
            this.ended = true;
            return Poll::Ready(None);
        };
        match frame.data_ref() {
            Some(data) => match this.left.checked_sub(data.len() as u64) {
                Some(left) => this.left = left,
                None => return Poll::Ready(Some(Err(OverLimit.into()))),
            },
            None => this.ended = true,
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let incoming = self.incoming.as_ref();
        incoming.map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if !self.is_end_stream() {
            self.client.leave_unread();
        }
    }
}

/// The body of an answer on its way to the caller.
pub(crate) enum Answer {
    /// All of it is here.
    Whole(Option<Bytes>),
    /// It comes from a replica.
    Replica(ReplicaAnswer),
    /// It comes from elsewhere: the fallback, or a file.
    Other(AnswerBody),
}

impl Answer {
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Replica(body) => body.poll_frame(cx),
            Self::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Replica(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Replica(body) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

/// An answer as hyper writes it: the call is under way until this is dropped.
pub(crate) struct Outgoing {
    answer: Answer,
    /// Has its line in the access log when all is done.
    pending: Option<Pending>,
    _entered: Entered,
}

impl Outgoing {
    pub(crate) fn new(answer: Answer, pending: Option<Pending>, entered: Entered) -> Self {
        Self {
            answer,
            pending,
            _entered: entered,
        }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.answer).poll_frame(cx);
        if let (Some(pending), Poll::Ready(Some(Ok(frame)))) = (&mut this.pending, &frame) {
            pending.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}
