//! How fast the body of a request has to come.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;

use crate::{BoxError, GatewayConfig};

/// How many times the grace bytes that came quickly are worth at most.
const CREDIT_MAX: u32 = 6;

/// A body that comes more slowly than it has to.
#[derive(Debug, thiserror::Error)]
#[error("the request's body comes too slowly")]
pub(crate) struct TooSlow;

/// What is known of a body to those who do not read it.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Its reader waits for the caller.
    waits: AtomicBool,
    too_slow: AtomicBool,
    /// It may come as it likes.
    free: AtomicBool,
    /// Nobody has read it to its end, and nobody will.
    left: AtomicBool,
}

/// The body of a request as its caller sends it. An error, once that is too slow.
///
/// Only time counts in which somebody waits for it: a function that does not read is no fault of
/// the caller's.
pub(crate) struct CallerBody {
    incoming: Incoming,
    /// Bytes a second.
    rate: u64,
    /// How long it may keep its reader waiting from here on, and at most.
    credit: Duration,
    most: Duration,
    since: Option<Instant>,
    /// Boxed, since most bodies are here at once and need none.
    timer: Option<Pin<Box<Sleep>>>,
    owed: Arc<Owed>,
}

// === impl Owed ===

impl Owed {
    /// Whether the caller is the one whom everything waits for.
    pub(crate) fn waits(&self) -> bool {
        self.waits.load(Ordering::Relaxed)
    }

    /// Whether it was given up.
    pub(crate) fn is_too_slow(&self) -> bool {
        self.too_slow.load(Ordering::Relaxed)
    }

    /// Whether it was dropped before its end.
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// The answer has begun: what is still to come may take turns with it.
    pub(crate) fn is_answered(&self) {
        self.free.store(true, Ordering::Relaxed);
    }
}

// === impl CallerBody ===

impl CallerBody {
    /// Has to come with so many bytes a second on average.
    pub(crate) fn new(incoming: Incoming, config: &GatewayConfig) -> Self {
        Self {
            incoming,
            rate: config.body_rate.max(1),
            most: config.body_grace * CREDIT_MAX,
            credit: config.body_grace,
            since: None,
            timer: None,
            owed: Arc::default(),
        }
    }

    pub(crate) fn owed(&self) -> Arc<Owed> {
        Arc::clone(&self.owed)
    }

    fn came(&mut self, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.owed.waits.store(false, Ordering::Relaxed);
            self.credit = self.credit.saturating_sub(since.elapsed());
        }
        let worth = (bytes as u64).saturating_mul(1000) / self.rate;
        let credit = self.credit.saturating_add(Duration::from_millis(worth));
        self.credit = credit.min(self.most);
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.owed.free.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        let fresh = self.since.is_none();
        let due = *self.since.get_or_insert_with(Instant::now) + self.credit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due.into())));
        if fresh {
            self.owed.waits.store(true, Ordering::Relaxed);
            timer.as_mut().reset(due.into());
        }
        timer.as_mut().poll(cx)
    }
}

impl Drop for CallerBody {
    fn drop(&mut self) {
        if !self.incoming.is_end_stream() {
            self.owed.left.store(true, Ordering::Relaxed);
        }
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        if this.owed.is_too_slow() {
            return Poll::Ready(Some(Err(TooSlow.into())));
        }
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok());
                let data = data.and_then(Frame::data_ref);
                this.came(data.map_or(0, Bytes::len));
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                std::task::ready!(this.poll_late(cx));
                this.owed.too_slow.store(true, Ordering::Relaxed);
                Poll::Ready(Some(Err(TooSlow.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
