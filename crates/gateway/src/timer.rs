use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::Sleep;

/// A timer that is almost never set: while deadlines only move forward, as they do for calls
/// with one timeout, it stays armed for the first and looks again when that comes.
pub(crate) struct LazyTimer {
    sleep: Pin<Box<Sleep>>,
}

impl LazyTimer {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self {
            sleep: Box::pin(tokio::time::sleep_until(deadline.into())),
        }
    }

    /// Ready once `deadline` has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if deadline < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(deadline.into());
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            // At least a tick ahead, so that a deadline within the timer's own grain cannot spin.
            let next = deadline.max(Instant::now() + Duration::from_millis(1));
            self.sleep.as_mut().reset(next.into());
        }
        Poll::Pending
    }
}
