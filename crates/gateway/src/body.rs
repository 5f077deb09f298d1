use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::{
    AnswerBody, BoxError,
    access::Pending,
    answer::ReplicaAnswer,
    client::{Client, Entered},
    guard, headers,
    listen::PeerKind,
    pace::CallerBody,
    unread::WholeBody,
};

/// The body of a call on its way to a replica. Streams; stops at the route's limit.
pub(crate) struct RequestBody {
    source: Source,
    /// Bytes that may still pass.
    left: u64,
    /// Whether the last frame has passed.
    ended: bool,
    client: Rc<Client>,
}

/// Where a body comes from.
pub(crate) enum Source {
    /// There is none and never was.
    None,
    /// From the caller, as it is sent on.
    Incoming(CallerBody),
    /// It was read before the call was let in.
    Whole(WholeBody),
}

/// The body of a call passed its limit. Found again in the error of the connection that it
/// was being sent over.
#[derive(Debug, thiserror::Error)]
#[error("the request body is over its limit")]
pub(crate) struct OverLimit;

impl RequestBody {
    /// Lets at most `limit` bytes pass.
    pub(crate) fn new(source: Source, limit: u64, client: &Rc<Client>) -> Self {
        Self {
            ended: source.is_end_stream(),
            source,
            left: limit,
            client: Rc::clone(client),
        }
    }

    /// No body.
    pub(crate) fn empty(client: &Rc<Client>) -> Self {
        Self::new(Source::None, 0, client)
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
        let frame = match &mut this.source {
            Source::None => None,
            Source::Incoming(body) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                frame.transpose()?
            }
            Source::Whole(body) => std::task::ready!(Pin::new(body).poll_frame(cx)).transpose()?,
        };
        let Some(frame) = frame else {
            this.ended = true;
            return Poll::Ready(None);
        };
        let frame = match frame.into_trailers() {
            Ok(mut trailers) => {
                if this.client.kind != PeerKind::Inside {
                    // Some servers make one map of these and of the head.
                    guard::strip_fields(&mut trailers);
                    headers::strip_forwarded(&mut trailers);
                }
                Frame::trailers(trailers)
            }
            Err(frame) => frame,
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
        self.ended || self.source.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::None => SizeHint::with_exact(0),
            Source::Incoming(body) => body.size_hint(),
            Source::Whole(body) => body.size_hint(),
        }
    }
}

impl Source {
    fn is_end_stream(&self) -> bool {
        match self {
            Self::None => true,
            Self::Incoming(body) => body.is_end_stream(),
            Self::Whole(body) => body.is_end_stream(),
        }
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
    entered: Entered,
    /// Whether there is something of it that hyper has not asked for: its caller does not read.
    offered: bool,
}

impl Outgoing {
    pub(crate) fn new(answer: Answer, pending: Option<Pending>, entered: Entered) -> Self {
        entered.offer();
        Self {
            answer,
            pending,
            entered,
            offered: true,
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
        match (frame.is_ready(), this.offered) {
            (true, true) => this.entered.take(),
            (true, false) => this.entered.offer(),
            (false, true) => this.entered.took_all(),
            (false, false) => {}
        }
        this.offered = frame.is_ready();
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

impl Drop for Outgoing {
    fn drop(&mut self) {
        if self.offered {
            self.entered.took_all();
        }
    }
}
