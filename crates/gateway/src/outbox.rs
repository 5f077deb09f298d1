use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use tokio::{
    io::AsyncWrite,
    net::{tcp, unix},
};

/// Bytes that wait in one outbox for the end of the turn; more are written at once.
const WAITING_MAX: usize = 16 << 10;
/// How long the last bytes of a connection that is gone may wait for a peer that does not read.
const ORPHAN_MAX: Duration = Duration::from_secs(2);

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
    /// The connection's task, to tell it of a failure, or of room.
    task: Option<Waker>,
    /// Whether there is a [`drain`] task.
    draining: bool,
    /// That task, once it waits.
    drainer: Option<Waker>,
    /// Whether the connection is gone.
    orphaned: bool,
}

/// What a write left over.
#[derive(PartialEq, Eq)]
enum Left {
    Nothing,
    Some,
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
            if outbox.lock().flush_unasked() == Left::Some {
                tokio::task::spawn_local(drain(outbox));
            }
        }
        Poll::<()>::Pending
    })
    .await;
}

/// Writes on when a socket has room again. The connection's own task may sleep: as far as it
/// knows, everything is written.
async fn drain(outbox: Arc<Outbox>) {
    let mut last = None;
    poll_fn(|cx| {
        let mut out = outbox.lock();
        out.drainer = Some(cx.waker().clone());
        let flushed = match out.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending if out.orphaned => {
                let last = last.get_or_insert_with(|| Box::pin(tokio::time::sleep(ORPHAN_MAX)));
                ready!(last.as_mut().poll(cx));
                Err(io::ErrorKind::TimedOut.into())
            }
            Poll::Pending => return Poll::Pending,
        };
        out.drainer = None;
        out.draining = false;
        match flushed {
            // It may wait as well, and a socket wakes only the last that asked.
            Ok(()) => out.wake_task(),
            Err(error) => out.fail(error.kind()),
        }
        Poll::Ready(())
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
            draining: false,
            drainer: None,
            orphaned: false,
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
            out.remember(cx);
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
        out.remember(cx);
        out.poll_flush(cx)
    }

    /// The connection is gone. What it has said may still be said, for a while.
    pub(crate) fn orphan(&self) {
        let mut out = self.lock();
        out.orphaned = true;
        out.wake_drainer();
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut out = self.lock();
        out.check()?;
        out.remember(cx);
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

    /// A socket wakes only the last that asked for room, the connection's task or [`drain`];
    /// so whichever of the two gets on tells the other.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut flushed = Ok(());
        while flushed.is_ok() && !self.waiting.is_empty() {
            let waiting = std::mem::take(&mut self.waiting);
            let written = self.poll_write(cx, &waiting);
            self.waiting = waiting;
            flushed = ready!(written).map(|written| drop(self.waiting.drain(..written)));
        }
        self.wake_drainer();
        Poll::Ready(flushed)
    }

    /// The flusher's write: nobody waits for its result.
    fn flush_unasked(&mut self) -> Left {
        self.listed = false;
        while !self.waiting.is_empty() {
            let written = match &self.half {
                WriteHalf::Tcp(half) => half.try_write(&self.waiting),
                WriteHalf::Unix(half) => half.try_write(&self.waiting),
            };
            match written {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // The connection's task may have waited in its place since: it looks again.
                    self.wake_drainer();
                    let draining = std::mem::replace(&mut self.draining, true);
                    return if draining { Left::Nothing } else { Left::Some };
                }
                Err(error) => self.fail(error.kind()),
            }
        }
        if self.draining {
            self.wake_drainer();
            self.wake_task();
        }
        Left::Nothing
    }

    /// The connection is broken: its task hears of it, and what waits is for nobody.
    fn fail(&mut self, kind: io::ErrorKind) {
        self.waiting.clear();
        self.failed = Some(kind);
        self.wake_task();
    }

    fn wake_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }

    fn wake_drainer(&mut self) {
        if let Some(drainer) = self.drainer.take() {
            drainer.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        task::Wake,
        time::Duration,
    };

    use tokio::io::AsyncReadExt;

    use super::*;

    #[derive(Default)]
    struct Noted(AtomicBool);

    impl Wake for Noted {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        runtime.block_on(async {
            tokio::task::spawn_local(flush());
            tokio::time::timeout(Duration::from_secs(10), test)
                .await
                .unwrap();
        });
    }

    #[test]
    fn a_full_socket_is_written_on_when_the_owner_never_looks_again() {
        run(async {
            let (mut reader, writer) = tokio::net::UnixStream::pair().unwrap();
            let (_kept, half) = writer.into_split();
            let outbox = Outbox::new(WriteHalf::Unix(half));
            let piece = [7; 1000];
            let mut sent = 0;
            // Until the socket takes no more and some bytes are left over.
            while sent == 0 || outbox.lock().waiting.is_empty() {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(matches!(
                    outbox.poll_write(cx, &piece),
                    Poll::Ready(Ok(1000))
                ));
                sent += piece.len();
                tokio::task::yield_now().await;
            }
            let mut received = vec![0; sent];
            reader.read_exact(&mut received).await.unwrap();
            assert!(outbox.lock().waiting.is_empty());
        });
    }

    #[test]
    fn what_waits_outlives_its_connection_only_for_a_while() {
        run(async {
            let (reader, writer) = tokio::net::UnixStream::pair().unwrap();
            let (_kept, half) = writer.into_split();
            let outbox = Outbox::new(WriteHalf::Unix(half));
            while outbox.lock().waiting.is_empty() || !outbox.lock().draining {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(outbox.poll_write(cx, &[7; 1000]).is_ready());
                tokio::task::yield_now().await;
            }
            outbox.orphan();
            while Arc::strong_count(&outbox) > 1 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(reader);
        });
    }

    #[test]
    fn the_owner_hears_of_a_broken_connection() {
        run(async {
            let (reader, writer) = tokio::net::UnixStream::pair().unwrap();
            let (_kept, half) = writer.into_split();
            let outbox = Outbox::new(WriteHalf::Unix(half));
            drop(reader);
            let noted = Arc::new(Noted::default());
            let waker = Waker::from(Arc::clone(&noted));
            let cx = &mut Context::from_waker(&waker);
            assert!(outbox.poll_write(cx, b"lost").is_ready());
            while !noted.0.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            assert!(matches!(outbox.poll_flush(cx), Poll::Ready(Err(_))));
            assert!(matches!(
                outbox.poll_write(cx, b"more"),
                Poll::Ready(Err(_))
            ));
        });
    }
}
