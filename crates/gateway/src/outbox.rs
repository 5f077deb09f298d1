use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::AsyncWrite,
    net::{tcp, unix},
};

/// Bytes that wait in one outbox for the end of the turn; more are written at once.
const WAITING_MAX: usize = 16 << 10;

/// The writing half of a connection, which holds small messages back until every task that is
/// ready now has run.
///
/// A proxy that writes each message as soon as it has it wakes the other side once per message:
/// the wake-up costs more than the write. Writing all messages of a turn in a row lets the other
/// side find them all with one. The delay is the rest of the turn, some microseconds, and none
/// when nothing else is to do.
pub(crate) struct Outbox(Mutex<Outgoing>);

struct Outgoing {
    half: WriteHalf,
    waiting: Vec<u8>,
    /// Whether it stands in the list of the [`flush`] task.
    listed: bool,
    /// What a write in the caller's absence met.
    failed: Option<io::ErrorKind>,
    /// The connection's task, to tell it of a failure, or that the socket takes no more.
    task: Option<Waker>,
}

/// Either kind of socket's writing half.
pub(crate) enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// What the connections of one thread have written since the last flush. By thread, and not
/// handed down from the worker, because hyper wants connections that could move.
struct Turn {
    waiting: Vec<Arc<Outbox>>,
    flusher: Option<Waker>,
}

thread_local! {
    static TURN: RefCell<Turn> = const {
        RefCell::new(Turn { waiting: Vec::new(), flusher: None })
    };
}

/// Writes at the end of each turn what the connections of this thread have to say. Runs beside
/// them for as long as they do: woken by the first that writes, it is queued behind all that
/// are ready.
pub(crate) async fn flush() {
    let mut batch = Vec::new();
    poll_fn(|cx| {
        TURN.with_borrow_mut(|turn| {
            std::mem::swap(&mut batch, &mut turn.waiting);
            if !turn
                .flusher
                .as_ref()
                .is_some_and(|known| known.will_wake(cx.waker()))
            {
                turn.flusher = Some(cx.waker().clone());
            }
        });
        for outbox in batch.drain(..) {
            outbox.lock().flush_unasked();
        }
        Poll::<()>::Pending
    })
    .await;
}

impl Outbox {
    pub(crate) fn new(half: WriteHalf) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Outgoing {
            half,
            waiting: Vec::new(),
            listed: false,
            failed: None,
            task: None,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing> {
        // Never contended: one thread has the connection and the flusher.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn poll_write(
        self: &Arc<Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut out = self.lock();
        out.check()?;
        if out.waiting.len() + buf.len() > WAITING_MAX {
            ready!(out.poll_flush(cx))?;
            return out.poll_write(cx, buf);
        }
        out.waiting.extend_from_slice(buf);
        if !std::mem::replace(&mut out.listed, true) {
            out.remember(cx);
            TURN.with_borrow_mut(|turn| {
                turn.waiting.push(Arc::clone(self));
                if turn.waiting.len() == 1
                    && let Some(flusher) = &turn.flusher
                {
                    flusher.wake_by_ref();
                }
            });
        }
        Poll::Ready(Ok(buf.len()))
    }

    /// Ready while bytes wait for the end of the turn: they need no further poll. Pending only
    /// when the socket took no more.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.lock();
        out.check()?;
        if out.listed || out.waiting.is_empty() {
            return Poll::Ready(Ok(()));
        }
        out.poll_flush(cx)
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.lock();
        out.check()?;
        ready!(out.poll_flush(cx))?;
        match &mut out.half {
            WriteHalf::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            WriteHalf::Unix(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

impl Outgoing {
    fn check(&mut self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn remember(&mut self, cx: &Context<'_>) {
        if !self
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(cx.waker()))
        {
            self.task = Some(cx.waker().clone());
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.half {
            WriteHalf::Tcp(half) => Pin::new(half).poll_write(cx, buf),
            WriteHalf::Unix(half) => Pin::new(half).poll_write(cx, buf),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            let written = self.poll_write(cx, &waiting);
            self.waiting = waiting;
            let written = ready!(written)?;
            self.waiting.drain(..written);
        }
        Poll::Ready(Ok(()))
    }

    /// The flusher's write: nobody waits for its result.
    fn flush_unasked(&mut self) {
        self.listed = false;
        while !self.waiting.is_empty() {
            let written = match &self.half {
                WriteHalf::Tcp(half) => half.try_write(&self.waiting),
                WriteHalf::Unix(half) => half.try_write(&self.waiting),
            };
            match written {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.failed = Some(error.kind());
                    }
                    // Its task goes on from here: it waits for room, or it ends.
                    if let Some(task) = self.task.take() {
                        task.wake();
                    }
                    return;
                }
            }
        }
    }
}
