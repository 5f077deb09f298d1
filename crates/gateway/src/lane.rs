//! The express lane: plain calls over HTTP/1.1, from the caller's socket to a replica's and
//! back with nothing in between.
//!
//! A call is plain when its head and body are here at once and say nothing about the connection,
//! and when its function has nothing but replicas. At the first request that is not, the
//! connection goes to hyper with all its bytes, for good; until then no byte of that request
//! has gone anywhere. `call.rs` is the life of all other calls, and the rules are the same.

mod admit;
mod answer;
mod caller;
mod framing;
mod inbox;
mod logged;
mod relay;
mod request;
mod wire;

use std::{rc::Rc, sync::Arc, task::Context, time::Instant};

use hob_model::{BackendLease, Endpoint, ReplicaSet};
use tokio::net::TcpStream;

pub(crate) use self::wire::Wire;
use self::{
    admit::{Step, Taken},
    answer::{After, Method},
    caller::{Caller, HungUp, Interrupt, Missing, Read},
    inbox::Inbox,
    relay::{Relay, Relayed},
};
use crate::{
    call::Call,
    client::Client,
    error::GatewayError,
    forward, lease,
    retry::{self, Contact, Tries},
};

/// Bytes that a server reads at once, if it reads anything.
const READ_MIN: usize = 4096;

/// What becomes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It has ended, or has to.
    Closed,
    /// The bytes are those of a request for hyper.
    Other(Vec<u8>),
}

/// One connection while it is in the lane.
struct Lane<'a> {
    client: &'a Rc<Client>,
    caller: Caller<'a>,
}

/// Why a call has no answer of a replica.
enum Failure {
    /// An answer all the same.
    Error(GatewayError),
    /// Nobody is there to be answered, or half an answer is with the caller.
    Cut,
    /// The replica closed a connection that it had used once, with bytes in it unread.
    Reset,
    /// The replica closed the connection before the head of its answer was whole.
    Unanswered,
}

/// Serves a connection for as long as its calls are plain. `first` are its first bytes.
pub(crate) async fn serve(client: &Rc<Client>, stream: &mut TcpStream, first: &[u8]) -> Exit {
    let mut inbox = Inbox::holding(first, &client.worker().buffers);
    let mut lane = Lane {
        client,
        caller: Caller::new(client, stream),
    };
    loop {
        match lane.look(&inbox) {
            Step::Take(taken) => {
                inbox.take(taken.length);
                lane.caller.begin(&inbox);
                if lane.answer(*taken).await == After::Close {
                    return Exit::Closed;
                }
            }
            Step::More(missing) => match (lane.caller.read(&mut inbox, missing).await, missing) {
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
    /// Answers a call. An error is an answer too.
    async fn answer(&mut self, taken: Taken) -> After {
        let Taken {
            mut call,
            replicas,
            request,
            method,
            refused,
            record,
            ..
        } = taken;
        call.route.start();
        let outcome = match refused {
            Some(error) => Err(error.into()),
            None => {
                let exchange = self.exchange(&mut call, &replicas, &request, method);
                exchange.await
            }
        };
        let after = match outcome {
            Ok(after) => after,
            Err(Failure::Cut | Failure::Reset | Failure::Unanswered) => After::Close,
            Err(Failure::Error(error)) => self.refuse(&call, error, method).await,
        };
        logged::end(record, &call);
        after
    }

    async fn refuse(&mut self, call: &Call, error: GatewayError, method: Method) -> After {
        call.route.refused(&error);
        tracing::debug!(function = %call.route.function, %error, "call failed");
        let mut out = self.client.worker().buffers.take();
        let context = self.context(call, method);
        let body = answer::put_own(error, &context, &mut out);
        call.sent.set(body);
        let after = context.after;
        let until = Instant::now() + self.client.worker().config.idle_timeout;
        match self.caller.write(&out, until).await {
            Ok(()) => after,
            Err(_) => After::Close,
        }
    }

    /// From the request to the last byte of its answer. The replica may have to be started first;
    /// another one is tried where nothing was lost.
    async fn exchange(
        &mut self,
        call: &mut Call,
        replicas: &ReplicaSet,
        request: &[u8],
        method: Method,
    ) -> Result<After, Failure> {
        let mut way = Contact::Kept;
        let mut tries = Tries::default();
        while tries.next() {
            let lease = match replicas.lease() {
                Ok(lease) => lease,
                Err(_) => {
                    let later = lease::lease(call, replicas);
                    self.caller.unless_hung_up(later).await??
                }
            };
            let Some(mut wire) = self.send(call, &lease, request, way).await? else {
                let backend = Arc::clone(&lease);
                drop(lease);
                tries.refused(call, replicas, &backend).await;
                continue;
            };
            // Waits without a buffer.
            let news = self.caller.wait(call.deadline, |cx| wire.poll_news(cx));
            if let Err(interrupt) = news.await {
                return Err(interrupted(call, &lease, &interrupt));
            }
            let relayed = Relay::new(call, &lease, &mut wire, method).run(self).await;
            let relayed = match relayed {
                Err(Failure::Reset) if is_unread(&lease, request) => {
                    way = Contact::New;
                    continue;
                }
                Err(Failure::Reset | Failure::Unanswered) => {
                    let how = (wire.contact(), method.repeat());
                    let backend = Arc::clone(&lease);
                    drop(wire);
                    let _told = retry::until_told(lease);
                    if tries.unanswered(call, replicas, &backend, how).await {
                        way = Contact::New;
                        continue;
                    }
                    return Err(retry::hung_up(call, &backend).await.into());
                }
                relayed => relayed?,
            };
            return self.end(call, lease, wire, relayed).await;
        }
        Err(retry::deaf(call).into())
    }

    /// The replica has said all. Its connection is kept, and the caller gets the rest.
    async fn end(
        &mut self,
        call: &Call,
        lease: BackendLease,
        mut wire: Wire,
        relayed: Relayed,
    ) -> Result<After, Failure> {
        // Before its last bytes go out: who has the answer finds it counted.
        let now = Instant::now();
        call.route.end(now);
        match relayed.kept {
            Some(hint) => {
                wire.answered();
                let wires = &self.client.worker().wires;
                wires.put(&lease, wire, hint, now);
            }
            None => drop(wire),
        }
        drop(lease);
        let written = self.caller.write(&relayed.last, call.deadline).await;
        written.map(|()| relayed.after).map_err(|_| Failure::Cut)
    }

    /// Sends a request to a replica. `None` when it does not take a byte.
    async fn send(
        &mut self,
        call: &mut Call,
        lease: &BackendLease,
        request: &[u8],
        way: Contact,
    ) -> Result<Option<Wire>, Failure> {
        loop {
            let now = Instant::now();
            let wires = &self.client.worker().wires;
            let kept = (way == Contact::Kept)
                .then(|| wires.take(lease, now))
                .flatten();
            let fresh = kept.is_none();
            let mut wire = match kept {
                Some(wire) => wire,
                None => match self.connect(call, lease).await? {
                    Some(wire) => wire,
                    None => return Ok(None),
                },
            };
            call.receipt.sent = Some(now);
            let mut sent = 0;
            while sent < request.len() {
                let write = |cx: &mut Context<'_>| wire.poll_write(cx, &request[sent..]);
                match self.caller.wait(call.deadline, write).await {
                    Ok(Ok(now)) => sent += now,
                    // What it has not read may not matter to it: perhaps it has answered.
                    Ok(Err(_)) => {
                        wire.spoil();
                        break;
                    }
                    Err(interrupt) => return Err(interrupted(call, lease, &interrupt)),
                }
            }
            if sent > 0 {
                return Ok(Some(wire));
            }
            // A kept connection may have been closed by the replica; others may be alive.
            if fresh {
                return Ok(None);
            }
        }
    }

    /// A new connection; `None` when the replica does not accept one.
    async fn connect(
        &mut self,
        call: &Call,
        lease: &BackendLease,
    ) -> Result<Option<Wire>, Failure> {
        let connect = Wire::connect(&lease.endpoint);
        let connect = tokio::time::timeout_at(call.deadline.into(), connect);
        match self.caller.unless_hung_up(connect).await? {
            Ok(connected) => Ok(connected.ok()),
            Err(_) => Err(forward::overdue(call, lease).into()),
        }
    }

    /// What the head of an answer is written with.
    fn context<'c>(&'c self, call: &'c Call, method: Method) -> answer::Context<'c> {
        let worker = self.client.worker();
        answer::Context {
            method,
            receipt: &call.receipt,
            standing: call.passed.standing.as_ref(),
            date: &worker.date,
            after: if worker.is_stopping() {
                After::Close
            } else {
                After::Stay
            },
        }
    }
}

impl From<HungUp> for Failure {
    fn from(HungUp: HungUp) -> Self {
        Self::Cut
    }
}

impl From<GatewayError> for Failure {
    fn from(error: GatewayError) -> Self {
        Self::Error(error)
    }
}

/// Whether a replica that reset the connection has seen nothing of a request: a unix socket is
/// reset only by bytes that were not read, and these are too few to be read in part.
fn is_unread(lease: &BackendLease, request: &[u8]) -> bool {
    matches!(lease.endpoint, Endpoint::Unix(_)) && request.len() <= READ_MIN
}

/// What an interrupt means before the answer has begun.
fn interrupted(call: &Call, lease: &BackendLease, interrupt: &Interrupt) -> Failure {
    match interrupt {
        Interrupt::Overdue => forward::overdue(call, lease).into(),
        Interrupt::HungUp => Failure::Cut,
    }
}
