use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    rc::{Rc, Weak},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use hob_model::{CallIds, Routes, port::Wake};
use hyper::client::conn::http1;
use tokio::sync::Notify;

use crate::{
    Fallback, GatewayConfig, GatewayPorts,
    access::{Access, Desk},
    buffers::Buffers,
    client::Client,
    date::DateCache,
    door::Door,
    guard::Guards,
    lane::Wire,
    pool::Pool,
    tls::Tls,
    upstream::Upstream,
};

/// What all connections of one thread share. Nothing in it is shared with another thread but
/// the ports, the guards and the counter of connections.
pub(crate) struct Worker {
    pub(crate) config: GatewayConfig,
    pub(crate) routes: Arc<Routes>,
    pub(crate) wake: Arc<dyn Wake>,
    pub(crate) fallback: Fallback,
    pub(crate) tls: Option<Tls>,
    pub(crate) guards: Arc<Guards>,
    pub(crate) door: Arc<Door>,
    pub(crate) access: Option<Access>,
    pub(crate) pool: Pool<Box<Upstream>>,
    /// The connections of the express lane.
    pub(crate) wires: Pool<Wire>,
    pub(crate) buffers: Rc<Buffers>,
    pub(crate) date: DateCache,
    pub(crate) ids: RefCell<CallIds>,
    /// Keyed by the operating system's randomness.
    random: RandomState,
    drawn: Cell<u64>,
    pub(crate) upstreams: http1::Builder,
    /// Connections of this thread, also those that another has accepted for it.
    load: Arc<AtomicUsize>,
    clients: RefCell<HashMap<*const Client, Weak<Client>>>,
    stopping: Cell<bool>,
    changed: Notify,
}

/// What the threads of a gateway have in common.
#[derive(Clone)]
pub(crate) struct Ports {
    pub(crate) config: GatewayConfig,
    pub(crate) routes: Arc<Routes>,
    pub(crate) wake: Arc<dyn Wake>,
    pub(crate) fallback: Fallback,
    pub(crate) tls: Option<Tls>,
    pub(crate) guards: Arc<Guards>,
    pub(crate) door: Arc<Door>,
    pub(crate) desk: Option<Arc<Desk>>,
}

impl Ports {
    pub(crate) fn new(
        config: GatewayConfig,
        ports: GatewayPorts,
        tls: Option<Tls>,
        desk: Option<Arc<Desk>>,
    ) -> Self {
        let routes = Arc::clone(&ports.routes);
        let guards = Guards::new(&config.calls, routes, ports.tokens, ports.secrets);
        Self {
            door: Arc::new(Door::new(ports.bans, config.connections_per_address)),
            config,
            tls,
            routes: ports.routes,
            wake: ports.wake,
            fallback: ports.fallback,
            guards: Arc::new(guards),
            desk,
        }
    }
}

impl Worker {
    pub(crate) fn new(ports: Ports, load: Arc<AtomicUsize>) -> Self {
        let Ports {
            config,
            routes,
            wake,
            fallback,
            tls,
            guards,
            door,
            desk,
        } = ports;
        let mut upstreams = http1::Builder::new();
        upstreams
            .title_case_headers(true)
            .max_buf_size(config.head_bytes);
        Self {
            pool: Pool::new(config.idle_upstreams, config.upstream_idle),
            wires: Pool::new(config.idle_upstreams, config.upstream_idle),
            buffers: Rc::default(),
            date: DateCache::default(),
            config,
            routes,
            wake,
            fallback,
            tls,
            guards,
            door,
            access: desk.map(Access::new),
            ids: RefCell::new(CallIds::default()),
            random: RandomState::new(),
            drawn: Cell::default(),
            upstreams,
            load,
            clients: RefCell::default(),
            stopping: Cell::new(false),
            changed: Notify::new(),
        }
    }

    /// A random number. It decides; it is no secret.
    pub(crate) fn draw(&self) -> u64 {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        self.random.hash_one(self.drawn.get())
    }

    /// Keeps count of a connection until its last user drops it.
    pub(crate) fn welcome(&self, client: &Rc<Client>) {
        let mut clients = self.clients.borrow_mut();
        clients.insert(Rc::as_ptr(client), Rc::downgrade(client));
    }

    /// Undoes [`Worker::welcome`].
    pub(crate) fn farewell(&self, client: *const Client) {
        self.clients.borrow_mut().remove(&client);
        self.lighten();
        self.changed.notify_waiters();
    }

    /// One connection less on this thread.
    pub(crate) fn lighten(&self) {
        self.load.fetch_sub(1, Ordering::Relaxed);
    }

    /// Closes connections to replicas that nobody will use again, and forgets callers.
    pub(crate) fn sweep(&self, now: Instant) {
        self.guards.sweep(now);
        self.pool.sweep(now);
        self.wires.sweep(now);
    }

    /// Whether connections should end after the call at hand.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Tells every connection to end after the call at hand.
    pub(crate) fn stop(&self) {
        self.stopping.set(true);
        let clients: Vec<_> = self
            .clients
            .borrow()
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        for client in clients {
            client.wake();
        }
    }

    /// Returns when the last connection has ended.
    pub(crate) async fn deserted(&self) {
        loop {
            let changed = self.changed.notified();
            if self.clients.borrow().is_empty() {
                return;
            }
            changed.await;
        }
    }
}
