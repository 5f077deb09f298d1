use std::{
    cell::RefCell,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use hob_model::{BackendLease, EndReason};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::task::AbortHandle;

use crate::{
    BoxError, body::Answer, client::Client, counted::Counted, forward, upstream::Upstream,
};

/// What a call holds until the last byte of its answer: the replica, and the way to it.
pub(crate) struct Hold {
    /// `None` for a connection that drives itself, as those of upgrades do.
    pub(crate) upstream: Option<Box<Upstream>>,
    pub(crate) lease: BackendLease,
    /// Counts the call to its end; dropped before that, its caller gave up.
    pub(crate) route: Counted,
    pub(crate) client: Rc<Client>,
    pub(crate) deadline: Instant,
    /// How long the replica said that it keeps an idle connection.
    pub(crate) keep_alive: Option<Duration>,
    /// Whether more of the answer is waited for; else the caller has yet to take what is here.
    pub(crate) waits: bool,
}

/// The body of a replica's answer, with what is here of it already.
pub(crate) struct Beginning {
    incoming: Incoming,
    /// Taken from `incoming`.
    first: Poll<Option<hyper::Result<Frame<Bytes>>>>,
}

/// Why the rest of an answer will not come. Only the log sees it: the caller sees a cut.
#[derive(Debug, thiserror::Error)]
enum Cut {
    #[error("the replica broke the connection inside its answer: {0}")]
    Broken(#[source] hyper::Error),
    #[error("the answer passed its deadline")]
    Overdue,
    #[error("the answer is over its limit")]
    TooMuch,
}

/// The body of a replica's answer while it streams.
pub(crate) struct ReplicaAnswer {
    incoming: Incoming,
    /// Already taken from `incoming`.
    first: Option<hyper::Result<Frame<Bytes>>>,
    /// Bytes that may still pass.
    left: u64,
    /// Empty once the last byte was taken or the answer was cut. Shared with the watchdog.
    hold: Rc<RefCell<Option<Hold>>>,
    watchdog: Option<AbortHandle>,
}

impl Beginning {
    pub(crate) async fn of(mut incoming: Incoming) -> Self {
        let first = poll_fn(|cx| Poll::Ready(Pin::new(&mut incoming).poll_frame(cx))).await;
        Self { incoming, first }
    }

    /// Whether the body has more bytes than this, or says that it will.
    pub(crate) fn is_over(&self, limit: u64) -> bool {
        let here = match &self.first {
            Poll::Ready(Some(Ok(frame))) => length(frame),
            _ => 0,
        };
        let rest = self.incoming.size_hint().lower();
        here.saturating_add(rest) > limit
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, |data| data.len() as u64)
}

impl Hold {
    /// Turns the replica's body into the caller's: at once when all of it is here already, which
    /// spares small answers the rest of this file.
    pub(crate) fn answer(self, body: Beginning) -> Answer {
        let Beginning { incoming, first } = body;
        let first = match first {
            Poll::Ready(None) => {
                self.release();
                return Answer::empty();
            }
            Poll::Ready(Some(Ok(frame))) if incoming.is_end_stream() && frame.is_data() => {
                self.release();
                return Answer::Whole(frame.into_data().ok());
            }
            Poll::Ready(Some(first)) => Some(first),
            Poll::Pending => None,
        };
        Answer::Replica(ReplicaAnswer {
            incoming,
            first,
            left: self.route.output_limit,
            hold: Rc::new(RefCell::new(Some(self))),
            watchdog: None,
        })
    }

    /// The answer is complete: the connection goes back to the pool.
    pub(crate) fn release(self) {
        let now = Instant::now();
        self.route.end(now);
        let Some(mut upstream) = self.upstream else {
            return;
        };
        // The end of an answer may be seen before the connection has settled.
        if upstream.is_idle() || upstream.has_settled() {
            let pool = &self.client.worker().pool;
            pool.put(&self.lease, upstream, self.keep_alive, now);
        }
    }

    /// The answer did what it may not: the replica is reported, the caller sees a cut.
    fn condemn(self, why: EndReason) {
        self.route.cut(why);
        forward::condemn(&self.client, &self.route, &self.lease, why);
        self.client.cut();
    }
}

impl ReplicaAnswer {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.poll_incoming(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let Some(left) = self.left.checked_sub(length(&frame)) else {
                    return Poll::Ready(Some(Err(self.too_much().into())));
                };
                self.left = left;
                if frame.is_trailers() || self.incoming.is_end_stream() {
                    self.end();
                } else {
                    self.watch(false);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.broken(error).into()))),
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                self.watch(true);
                Poll::Pending
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.incoming.is_end_stream()
    }

    /// Of the whole body: asked only before the first frame.
    pub(crate) fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        if let (Some(rest), Some(Ok(first))) = (hint.exact(), &self.first) {
            hint.set_exact(rest + length(first));
        }
        hint
    }

    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let incoming = Pin::new(&mut self.incoming);
        if let Poll::Ready(frame) = incoming.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        // Nothing is here yet: move bytes, and look again.
        if let Some(upstream) = self
            .hold
            .borrow_mut()
            .as_mut()
            .and_then(|h| h.upstream.as_mut())
        {
            upstream.drive(cx);
        }
        Pin::new(&mut self.incoming).poll_frame(cx)
    }

    fn end(&mut self) {
        let hold = self.hold.borrow_mut().take();
        if let Some(hold) = hold {
            hold.release();
        }
    }

    fn broken(&mut self, error: hyper::Error) -> Cut {
        match self.hold.borrow_mut().take() {
            Some(hold) => {
                hold.route.cut(forward::broken_off(&hold.lease));
                Cut::Broken(error)
            }
            None => Cut::Overdue,
        }
    }

    fn too_much(&mut self) -> Cut {
        match self.hold.borrow_mut().take() {
            Some(hold) => {
                hold.condemn(EndReason::Output);
                Cut::TooMuch
            }
            None => Cut::Overdue,
        }
    }

    /// Notes who waits for whom, and sets the deadline of the body, once. A task of its own, since
    /// nobody polls the body while the caller does not read.
    fn watch(&mut self, waits: bool) {
        let deadline = self.hold.borrow_mut().as_mut().map(|hold| {
            hold.waits = waits;
            hold.deadline
        });
        let (None, Some(deadline)) = (&self.watchdog, deadline) else {
            return;
        };
        let hold = Rc::downgrade(&self.hold);
        let watchdog = tokio::task::spawn_local(async move {
            tokio::time::sleep_until(deadline.into()).await;
            let hold = hold.upgrade().and_then(|hold| hold.borrow_mut().take());
            match hold {
                Some(hold) if hold.waits => hold.condemn(EndReason::Timeout),
                // The replica has done its part; the caller gave up, and does not know it.
                Some(hold) => hold.client.cut(),
                None => {}
            }
        });
        self.watchdog = Some(watchdog.abort_handle());
    }
}

impl Drop for ReplicaAnswer {
    fn drop(&mut self) {
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.abort();
        }
    }
}
