use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::Instant,
};

use hob_model::CallerAddress;
use http::HeaderValue;

use crate::{
    door::{Door, Place},
    guard::Fields,
    headers::Told,
    inlet::Tap,
    listen::{Entrance, Peer, PeerKind},
    worker::Worker,
};

/// One connection of a caller, as the calls on it see it.
pub(crate) struct Client {
    worker: Rc<Worker>,
    /// Where it comes from.
    pub(crate) peer: SocketAddr,
    /// The same without the port, and IPv4 never as IPv6.
    ip: IpAddr,
    pub(crate) kind: PeerKind,
    /// How it came in.
    pub(crate) entrance: Entrance,
    /// Whether it is a proxy that may say whose its requests are.
    is_proxy: bool,
    /// Whether its own conduct is looked at. Asked once: there may be many who are exempt.
    is_minded: bool,
    /// The same, as `X-Forwarded-For` has it.
    pub(crate) forwarded_for: HeaderValue,
    tap: Arc<Tap>,
    calls: Cell<u32>,
    idle_since: Cell<Instant>,
    unread: Cell<bool>,
    cut: Cell<bool>,
    finishing: Cell<bool>,
    /// Answers that the caller has yet to take bytes of.
    untaken: Cell<u32>,
    /// When he last took some.
    taken: Cell<Instant>,
    waker: RefCell<Option<Waker>>,
    /// Counts against the bound of connections until the last user of the socket is gone.
    _place: Option<Place>,
}

/// A call under way; the connection is not idle while it lives.
pub(crate) struct Entered(Rc<Client>);

impl Client {
    pub(crate) fn new(worker: Rc<Worker>, peer: Peer, tap: Arc<Tap>, place: Option<Place>) -> Self {
        let ip = peer.address.ip().to_canonical();
        // Functions are no proxies, wherever they are.
        let is_proxy = peer.kind == PeerKind::Stranger && worker.config.proxies.trust(ip);
        let is_minded = worker.door.minds(peer.kind, ip);
        let forwarded_for = HeaderValue::from_str(&ip.to_string());
        Self {
            worker,
            peer: peer.address,
            ip,
            kind: peer.kind,
            entrance: peer.entrance,
            is_proxy,
            is_minded,
            forwarded_for: forwarded_for.unwrap_or(HeaderValue::from_static("unknown")),
            tap,
            calls: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            unread: Cell::new(false),
            cut: Cell::new(false),
            finishing: Cell::new(false),
            untaken: Cell::new(0),
            taken: Cell::new(Instant::now()),
            waker: RefCell::new(None),
            _place: place,
        }
    }

    /// Whose request this is, and how he asked. Looks at every field where the peer is a proxy, so
    /// it is asked once for a request, before anything is taken out of it.
    pub(crate) fn address(&self, fields: Fields<'_>) -> CallerAddress {
        match self.is_proxy {
            true => self.worker.config.proxies.caller(self.ip, fields),
            false => CallerAddress {
                ip: self.ip,
                encrypted: self.entrance == Entrance::Tls,
            },
        }
    }

    /// What functions are told of the way that a request of `caller` has come.
    pub(crate) fn told(&self, caller: CallerAddress) -> Told<'_> {
        Told {
            peer: &self.forwarded_for,
            scheme: match caller.encrypted {
                true => "https",
                false => "http",
            },
            is_believed: self.is_proxy && self.worker.config.proxies.speak_by_fields(),
        }
    }

    pub(crate) fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    pub(crate) fn door(&self) -> &Door {
        &self.worker.door
    }

    /// Whether nothing that `caller` asks is to be answered.
    pub(crate) fn shuts_out(&self, caller: IpAddr) -> bool {
        self.kind == PeerKind::Stranger && self.door().bans.shuts_out(caller)
    }

    /// Whether what `caller` does is looked at.
    pub(crate) fn minds(&self, caller: IpAddr) -> bool {
        match self.is_of(caller) {
            true => self.is_minded,
            false => self.door().minds(self.kind, caller),
        }
    }

    /// Whether the connection is `caller`'s own, and not that of one who speaks for others.
    pub(crate) fn is_of(&self, caller: IpAddr) -> bool {
        self.ip == caller
    }

    /// Begins a call.
    pub(crate) fn enter(self: &Rc<Self>) -> Entered {
        self.tap.head_is_here();
        self.calls.set(self.calls.get() + 1);
        Entered(Rc::clone(self))
    }

    /// Since when no call is under way; `None` while one is.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        (self.calls.get() == 0).then(|| self.idle_since.get())
    }

    /// Whether the head of the request at hand had a `Content-Length`. Asked once per head.
    pub(crate) fn saw_length_in_head(&self) -> bool {
        self.tap.saw_length()
    }

    /// Notes that a body was not read to its end. The connection closes, and gently: bytes
    /// that arrive at a closed socket would reset it, and the answer would be lost.
    pub(crate) fn leave_unread(&self) {
        self.unread.set(true);
    }

    /// Whether [`Client::leave_unread`] was called.
    pub(crate) fn is_unread(&self) -> bool {
        self.unread.get()
    }

    /// Ends an HTTP/1 connection the rest of whose answer will not come, also while the caller
    /// does not read.
    pub(crate) fn cut(&self) {
        self.cut.set(true);
        self.wake();
    }

    /// Makes the connection look around.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Whether [`Client::cut`] was called.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get()
    }

    /// Ends the connection after the calls at hand.
    pub(crate) fn finish(&self) {
        self.finishing.set(true);
        self.wake();
    }

    /// Whether it should end after the calls at hand.
    pub(crate) fn is_finishing(&self) -> bool {
        self.finishing.get() || self.worker.is_stopping()
    }

    /// Since when the caller has taken nothing of an answer that is there for him.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        (self.untaken.get() > 0).then(|| self.taken.get())
    }

    /// Says which task drives the connection.
    pub(crate) fn driven_by(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.farewell(self);
    }
}

impl Entered {
    /// Something of the answer is there for the caller.
    pub(crate) fn offer(&self) {
        self.0.untaken.set(self.0.untaken.get() + 1);
        self.0.taken.set(Instant::now());
    }

    /// He takes more of it.
    pub(crate) fn take(&self) {
        self.0.taken.set(Instant::now());
    }

    /// He has taken all that was there.
    pub(crate) fn took_all(&self) {
        self.0.untaken.set(self.0.untaken.get() - 1);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let calls = self.0.calls.get() - 1;
        self.0.calls.set(calls);
        if calls == 0 {
            self.0.idle_since.set(Instant::now());
            self.0.tap.expect_head();
        }
    }
}
