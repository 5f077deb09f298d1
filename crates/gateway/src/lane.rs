//! The express lane: plain calls over HTTP/1.1, from the caller's socket to a replica's and
//! back with nothing in between.
//!
//! A call is plain when its head and body are here at once and say nothing about the connection,
//! and when its function has nothing but replicas. At the first request that is not, the
//! connection goes to hyper with all its bytes, for good; until then no byte of that request
//! has gone anywhere. `call.rs` is the life of all other calls, and the rules are the same.

mod answer;
mod framing;
mod inbox;
mod relay;
mod request;
mod wire;

use std::{
    future::{Future, poll_fn},
    mem::MaybeUninit,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hob_model::{BackendLease, ReplicaSet, Route, Target};
use tokio::{
    io::{AsyncWrite, ReadBuf},
    net::TcpStream,
};

pub(crate) use self::wire::Wire;
use self::{
    answer::{After, Method},
    inbox::Inbox,
    relay::Relay,
    request::{FIELDS_MAX, Plain},
};
use crate::{
    buffers::{BUFFER_BYTES, Buffer},
    call::Call,
    client::Client,
    error::GatewayError,
    forward,
    receipt::Receipt,
    timer::LazyTimer,
};

/// How long the lane waits for the next bytes of a body: callers that write head and body one
/// after the other mean them to come together. hyper waits for all others.
const BODY_WAIT: Duration = Duration::from_millis(10);

/// Bytes that a server reads at once, if it reads anything. Of a request that is no longer, a
/// server that left a part unread has seen nothing, and it can go elsewhere.
const READ_MIN: usize = 4096;

/// What becomes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It has ended, or has to.
    Closed,
    /// The bytes are those of a request for hyper.
    Other(Vec<u8>),
}

/// One connection of a caller.
struct Lane<'a> {
    client: &'a Rc<Client>,
    stream: &'a mut TcpStream,
    timer: LazyTimer,
    /// The caller has sent more than the call at hand, so its hanging up cannot be seen.
    ahead: bool,
}

/// A call that the lane takes.
struct Taken {
    call: Call,
    replicas: Arc<ReplicaSet>,
    /// The whole request, as the replica gets it.
    request: Buffer,
    method: Method,
    /// Bytes that it had in the inbox.
    length: usize,
}

/// What to do with the bytes at hand.
enum Step {
    Take(Box<Taken>),
    /// Wait for more of them.
    More(Missing),
    /// Leave them to hyper.
    Other,
}

/// What is not here of a request.
#[derive(Clone, Copy)]
enum Missing {
    /// All of it, or a part of its head.
    Head,
    /// A part of its body.
    Body,
}

/// How a wait for more bytes ended.
enum Read {
    More,
    /// The time for them is over.
    Late,
    /// No more will come, or is wanted.
    End,
}

/// Why a call has no answer of a replica.
enum Failure {
    /// An answer all the same.
    Error(GatewayError),
    /// Nobody is there to be answered, or half an answer is with the caller.
    Cut,
    /// The replica closed a connection that it had used once, with bytes in it unread.
    Reset,
}

/// Why something was not waited for any longer.
enum Interrupt {
    Overdue,
    HungUp,
}

/// Serves a connection for as long as its calls are plain. `first` are its first bytes.
pub(crate) async fn serve(client: &Rc<Client>, stream: &mut TcpStream, first: &[u8]) -> Exit {
    let worker = client.worker();
    let mut inbox = Inbox::holding(first, &worker.buffers);
    let mut lane = Lane {
        client,
        stream,
        timer: LazyTimer::new(Instant::now() + worker.config.idle_timeout),
        ahead: false,
    };
    loop {
        match lane.look(&inbox) {
            Step::Take(taken) => {
                inbox.take(taken.length);
                lane.ahead = !inbox.is_empty();
                if lane.answer(*taken).await == After::Close {
                    return Exit::Closed;
                }
            }
            Step::More(missing) => match (lane.read(&mut inbox, missing).await, missing) {
                (Read::More, _) => {}
                (Read::Late, Missing::Body) => return inbox.into(),
                (Read::Late | Read::End, _) => return Exit::Closed,
            },
            Step::Other => return inbox.into(),
        }
    }
}

impl From<Inbox> for Exit {
    fn from(inbox: Inbox) -> Self {
        Self::Other(inbox.bytes().to_vec())
    }
}

impl Lane<'_> {
    /// Decides what the first bytes of the inbox are, and turns a plain call into what its
    /// replica gets.
    fn look(&self, inbox: &Inbox) -> Step {
        let bytes = inbox.bytes();
        if bytes.is_empty() {
            return Step::More(Missing::Head);
        }
        let head_bytes = self.client.worker().config.head_bytes.min(BUFFER_BYTES);
        let mut room = [MaybeUninit::uninit(); FIELDS_MAX];
        let plain = match request::look(bytes, &mut room) {
            request::Look::Plain(plain) if plain.head <= head_bytes => plain,
            request::Look::Partial if bytes.len() < head_bytes => {
                return Step::More(Missing::Head);
            }
            _ => return Step::Other,
        };
        // Looked up first: whether the body is wanted at all depends on it.
        let Some((route, replicas)) = self.find(&plain) else {
            return Step::Other;
        };
        let length = plain.head.saturating_add(plain.body);
        if length > BUFFER_BYTES {
            return Step::Other;
        }
        let Some(body) = bytes.get(plain.head..length) else {
            return Step::More(Missing::Body);
        };
        let worker = self.client.worker();
        let receipt = Receipt::begin(&mut worker.ids.borrow_mut(), plain.call_id);
        let mut request = worker.buffers.take();
        plain.put(&receipt, &self.client.forwarded_for, &mut request);
        request.extend_from_slice(body);
        Step::Take(Box::new(Taken {
            call: Call::new(self.client, route, receipt),
            replicas,
            request,
            method: Method::of(plain.method),
            length,
        }))
    }

    /// `None` when the function is none, or wants more of a gateway than a plain call gets.
    fn find(&self, plain: &Plain<'_, '_>) -> Option<(Arc<Route>, Arc<ReplicaSet>)> {
        let route = self.client.worker().routes.find(plain.path.name)?;
        let Target::Replicas(replicas) = &route.target else {
            return None;
        };
        if route.cors.is_some() || plain.body as u64 > route.body_limit {
            return None;
        }
        let replicas = Arc::clone(replicas);
        Some((route, replicas))
    }

    /// Answers a call. An error is an answer too.
    async fn answer(&mut self, taken: Taken) -> After {
        let Taken {
            mut call,
            replicas,
            request,
            method,
            ..
        } = taken;
        call.route.counters.call();
        let exchange = self.exchange(&mut call, &replicas, &request, method);
        match exchange.await {
            Ok(after) => after,
            Err(Failure::Cut | Failure::Reset) => After::Close,
            Err(Failure::Error(error)) => self.refuse(&call, error, method).await,
        }
    }

    async fn refuse(&mut self, call: &Call, error: GatewayError, method: Method) -> After {
        call.route.counters.failure();
        tracing::debug!(function = %call.route.function, %error, "call failed");
        let mut out = self.client.worker().buffers.take();
        let context = self.context(call, method);
        answer::put_own(error, &context, &mut out);
        let after = context.after;
        let until = Instant::now() + self.client.worker().config.idle_timeout;
        match self.write(&out, until).await {
            Ok(()) => after,
            Err(_) => After::Close,
        }
    }

    /// From the request to the last byte of its answer.
    async fn exchange(
        &mut self,
        call: &mut Call,
        replicas: &ReplicaSet,
        request: &[u8],
        method: Method,
    ) -> Result<After, Failure> {
        for _ in 0..forward::ATTEMPTS {
            let (lease, mut wire) = self.send(call, replicas, request).await?;
            let relay = Relay::new(call, &lease, &mut wire, method);
            let relayed = match relay.run(self).await {
                Err(Failure::Reset) if request.len() <= READ_MIN => continue,
                Err(Failure::Reset) => return Err(forward::hung_up(call, &lease).await.into()),
                relayed => relayed?,
            };
            if let Some(hint) = relayed.kept {
                wire.answered();
                let wires = &self.client.worker().wires;
                wires.put(&lease, wire, hint, Instant::now());
            }
            drop(lease);
            let written = self.write(&relayed.last, call.deadline).await;
            return written.map(|()| relayed.after).map_err(|_| Failure::Cut);
        }
        Err(forward::deaf(call).into())
    }

    /// Sends a request to a replica, which may have to be started first. Another one is tried
    /// where nothing was lost.
    async fn send(
        &mut self,
        call: &mut Call,
        replicas: &ReplicaSet,
        request: &[u8],
    ) -> Result<(BackendLease, Wire), Failure> {
        for _ in 0..forward::ATTEMPTS {
            let lease = match replicas.lease() {
                Some(lease) => lease,
                None => {
                    self.unless_hung_up(forward::lease(call, replicas))
                        .await??
                }
            };
            if let Some(wire) = self.send_to(call, &lease, request).await? {
                return Ok((lease, wire));
            }
            let backend = Arc::clone(&lease);
            drop(lease);
            // Somebody has to notice that it is gone, or the next lease leads there again.
            forward::last_words(&backend, call.deadline).await;
        }
        Err(forward::deaf(call).into())
    }

    /// `None` when the replica does not take a byte.
    async fn send_to(
        &mut self,
        call: &mut Call,
        lease: &BackendLease,
        request: &[u8],
    ) -> Result<Option<Wire>, Failure> {
        loop {
            let now = Instant::now();
            let pooled = self.client.worker().wires.take(lease, now);
            let fresh = pooled.is_none();
            let mut wire = match pooled {
                Some(wire) => wire,
                None => {
                    let connect = Wire::connect(&lease.endpoint);
                    let connect = tokio::time::timeout_at(call.deadline.into(), connect);
                    match self.unless_hung_up(connect).await? {
                        Ok(Ok(wire)) => wire,
                        Ok(Err(_)) => return Ok(None),
                        Err(_) => return Err(forward::overdue(call, lease).into()),
                    }
                }
            };
            call.receipt.sent = Some(now);
            let mut sent = 0;
            while sent < request.len() {
                let write = |cx: &mut Context<'_>| wire.poll_write(cx, &request[sent..]);
                match self.wait(call.deadline, write).await {
                    Ok(Ok(now)) => sent += now,
                    // What it has not read may not matter to it: perhaps it has answered.
                    Ok(Err(_)) => break,
                    Err(interrupt) => return Err(interrupted(call, lease, &interrupt)),
                }
            }
            if sent > 0 {
                return Ok(Some(wire));
            }
            // An idle connection may have been closed by the replica; others may be alive.
            if fresh {
                return Ok(None);
            }
        }
    }

    /// What the head of an answer is written with.
    fn context<'c>(&'c self, call: &'c Call, method: Method) -> answer::Context<'c> {
        let worker = self.client.worker();
        answer::Context {
            method,
            receipt: &call.receipt,
            date: &worker.date,
            after: if worker.is_stopping() {
                After::Close
            } else {
                After::Stay
            },
        }
    }

    // === reading, writing and waiting ===

    async fn read(&mut self, inbox: &mut Inbox, missing: Missing) -> Read {
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
            (Some(_), Missing::Body) => Instant::now() + BODY_WAIT,
        };
        poll_fn(|cx| {
            client.driven_by(cx.waker());
            if begun.is_none() && worker.is_stopping() {
                return Poll::Ready(Read::End);
            }
            match inbox.poll_fill(cx, stream, &worker.buffers) {
                Poll::Ready(Ok(1..)) => Poll::Ready(Read::More),
                Poll::Ready(_) => Poll::Ready(Read::End),
                Poll::Pending => timer.poll(cx, until).map(|()| Read::Late),
            }
        })
        .await
    }

    /// Writes to the caller.
    async fn write(&mut self, bytes: &[u8], deadline: Instant) -> Result<(), Interrupt> {
        let mut sent = 0;
        while sent < bytes.len() {
            let Self { stream, timer, .. } = self;
            let written =
                poll_fn(
                    |cx| match Pin::new(&mut **stream).poll_write(cx, &bytes[sent..]) {
                        Poll::Ready(written) => Poll::Ready(written.map_err(|_| Interrupt::HungUp)),
                        Poll::Pending => timer.poll(cx, deadline).map(|()| Err(Interrupt::Overdue)),
                    },
                );
            sent += written.await?;
        }
        Ok(())
    }

    /// Waits for `step`, but not beyond the deadline, nor for a caller who is gone.
    async fn wait<T>(
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

    async fn unless_hung_up<F: Future>(&mut self, future: F) -> Result<F::Output, Failure> {
        let mut future = pin!(future);
        poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending if self.sees_hang_up(cx) => Poll::Ready(Err(Failure::Cut)),
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

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        Self::Error(error)
    }
}

/// What an interrupt means before the answer has begun.
fn interrupted(call: &Call, lease: &BackendLease, interrupt: &Interrupt) -> Failure {
    match interrupt {
        Interrupt::Overdue => forward::overdue(call, lease).into(),
        Interrupt::HungUp => Failure::Cut,
    }
}
