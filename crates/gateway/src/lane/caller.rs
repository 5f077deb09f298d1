use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::inbox::Inbox;
use crate::{client::Client, timer::LazyTimer};

/// How long the lane waits for a body: callers that write head and body one after the other mean
/// them to come together. hyper waits for all others.
const BODY_WAIT: Duration = Duration::from_millis(10);

/// The connection of a caller.
pub(super) struct Caller<'a> {
    client: &'a Rc<Client>,
    stream: &'a mut TcpStream,
    timer: LazyTimer,
    /// Whether more than the call at hand has come, so that hanging up cannot be seen.
    ahead: bool,
}

/// What is not here of a request.
#[derive(Clone, Copy)]
pub(super) enum Missing {
    /// All of it, or a part of its head.
    Head,
    /// A part of its body.
    Body,
}

/// How a wait for more bytes ended.
pub(super) enum Read {
    More,
    /// The time for them is over.
    Late,
    /// No more will come, or is wanted.
    End,
}

/// Why something was not waited for any longer.
pub(super) enum Interrupt {
    Overdue,
    HungUp,
}

/// The caller is gone.
pub(super) struct HungUp;

impl<'a> Caller<'a> {
    pub(super) fn new(client: &'a Rc<Client>, stream: &'a mut TcpStream) -> Self {
        let idle = client.worker().config.idle_timeout;
        Self {
            client,
            stream,
            timer: LazyTimer::new(Instant::now() + idle),
            ahead: false,
        }
    }

    /// A call begins, and `inbox` has what came after it.
    pub(super) fn begin(&mut self, inbox: &Inbox) {
        self.ahead = !inbox.is_empty();
    }

    /// Waits for more of a request.
    pub(super) async fn read(&mut self, inbox: &mut Inbox, missing: Missing) -> Read {
        let Self {
            client,
            stream,
            timer,
            ..
        } = self;
        let worker = client.worker();
        let begun = inbox.begun();
        let until = match (begun, missing) {
            (None, _) => Instant::now() + worker.config.idle_timeout,
            (Some(begun), Missing::Head) => begun + worker.config.head_timeout,
            (Some(_), Missing::Body) => inbox.body_begun() + BODY_WAIT,
        };
        poll_fn(|cx| {
            client.driven_by(cx.waker());
            match inbox.poll_fill(cx, stream, &worker.buffers) {
                Poll::Ready(Ok(1..)) => Poll::Ready(Read::More),
                Poll::Ready(_) => Poll::Ready(Read::End),
                // What is here by now is answered.
                Poll::Pending if begun.is_none() && worker.is_stopping() => Poll::Ready(Read::End),
                Poll::Pending => timer.poll(cx, until).map(|()| Read::Late),
            }
        })
        .await
    }

    /// Writes to the caller, who has to take something every now and then.
    pub(super) async fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Interrupt> {
        let mut sent = 0;
        let patience = self.client.worker().config.idle_timeout;
        while sent < bytes.len() {
            let Self { stream, timer, .. } = self;
            let rest = &bytes[sent..];
            let mut due = None;
            let written = poll_fn(|cx| match Pin::new(&mut **stream).poll_write(cx, rest) {
                Poll::Ready(written) => Poll::Ready(written.map_err(|_| Interrupt::HungUp)),
                Poll::Pending => {
                    let stalled = || deadline.min(Instant::now() + patience);
                    let due = *due.get_or_insert_with(stalled);
                    timer.poll(cx, due).map(|()| Err(Interrupt::Overdue))
                }
            });
            sent += written.await?;
        }
        Ok(())
    }

    /// Waits for `step`, but not beyond the deadline, nor for a caller who is gone.
    pub(super) async fn wait<T>(
        &mut self,
        deadline: Instant,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Interrupt> {
        poll_fn(|cx| {
            if let Poll::Ready(done) = step(cx) {
                return Poll::Ready(Ok(done));
            }
            if self.sees_hang_up(cx) {
                return Poll::Ready(Err(Interrupt::HungUp));
            }
            let timer = self.timer.poll(cx, deadline);
            timer.map(|()| Err(Interrupt::Overdue))
        })
        .await
    }

    /// Waits for a future that keeps its own time.
    pub(super) async fn unless_hung_up<F: Future>(
        &mut self,
        future: F,
    ) -> Result<F::Output, HungUp> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.sees_hang_up(cx) => Poll::Ready(Err(HungUp)),
            Poll::Pending => Poll::Pending,
        })
        .await
    }

    /// Whether the caller has hung up, as far as that can be seen. Wakes when that changes.
    fn sees_hang_up(&mut self, cx: &mut Context<'_>) -> bool {
        let mut byte = [0];
        while !self.ahead {
            match self.stream.poll_peek(cx, &mut ReadBuf::new(&mut byte)) {
                Poll::Ready(Ok(1..)) => self.ahead = true,
                Poll::Ready(_) => return true,
                Poll::Pending => return false,
            }
        }
        false
    }
}
