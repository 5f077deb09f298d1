use std::{
    fmt, io,
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use hob_model::{
    Bans, Routes, Tokens,
    port::{Dial, Secrets, Wake},
};
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use tokio::{
    runtime::LocalRuntime,
    sync::{Semaphore, mpsc, oneshot, watch},
};

use crate::{
    GatewayConfig,
    access::Writer,
    listen::{self, Dialer, Handed, Listeners, Post},
    tls::Tls,
    worker::{Ports, Worker},
};

/// An error of a body, whatever made it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer. `axum::body::Body` becomes one by
/// `UnsyncBoxBody::new(body.map_err(Into::into))`.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a request on its way to the fallback.
pub type CallBody = UnsyncBoxBody<Bytes, BoxError>;

/// Answers every request whose path does not begin with `/function/`. Gets the address of the
/// peer; runs on the gateway's own threads, so it must not block.
pub type Fallback = Arc<
    dyn Fn(Request<CallBody>, SocketAddr) -> BoxFuture<'static, Response<AnswerBody>> + Send + Sync,
>;

/// Whom a gateway works with.
#[derive(Clone)]
pub struct GatewayPorts {
    /// Where calls go.
    pub routes: Arc<Routes>,
    /// Brings sleeping functions back.
    pub wake: Arc<dyn Wake>,
    /// Answers what is no call.
    pub fallback: Fallback,
    /// Knows the tokens that callers may have.
    pub tokens: Arc<dyn Tokens>,
    /// Knows the secrets that callers are checked by.
    pub secrets: Arc<dyn Secrets>,
    /// Knows who is shut out.
    pub bans: Arc<Bans>,
}

/// The data plane of a server; see [`Gateway::start`].
#[derive(Debug)]
pub struct Gateway;

impl Gateway {
    /// Serves calls from `listeners` on threads of its own and returns at once. Needs no tokio
    /// runtime around it.
    ///
    /// # Errors
    /// When the listener cannot be shared between threads or a thread cannot be started.
    pub fn start(
        config: GatewayConfig,
        listeners: impl Into<Listeners>,
        ports: GatewayPorts,
    ) -> io::Result<GatewayHandle> {
        let listeners = listeners.into();
        let address = listeners.main.local_addr()?;
        let (tls_address, redirect_address) = listeners.tls_addresses()?;
        let tls = match (&config.tls, tls_address) {
            (Some(tls), Some(address)) => {
                Some(Tls::new(tls, address.port()).map_err(io::Error::other)?)
            }
            _ => None,
        };
        let threads = config.threads.max(1);
        let room = Arc::new(Semaphore::new(
            config.connections.clamp(1, Semaphore::MAX_PERMITS),
        ));
        let (stop, stopping) = watch::channel(None);
        let (posts, inboxes): (Vec<_>, Vec<_>) = (0..threads)
            .map(|_| {
                let (sender, inbox) = mpsc::unbounded_channel();
                let load = Arc::new(AtomicUsize::new(0));
                (Post { sender, load }, inbox)
            })
            .unzip();
        let posts: Arc<[Post]> = posts.into();
        let log = config.access_log.as_ref();
        let log = log.map(|log| Writer::start(log, threads)).transpose()?;
        let ports = Ports::new(config, ports, tls, log.as_ref().map(Writer::desk));
        let mut handle = GatewayHandle {
            address,
            tls_address,
            redirect_address,
            posts: Arc::clone(&posts),
            stop,
            threads: Vec::with_capacity(threads),
            _log: log,
        };
        for (index, inbox) in inboxes.into_iter().enumerate() {
            let thread = Thread {
                index,
                ports: ports.clone(),
                listeners: listeners.try_clone()?,
                posts: Arc::clone(&posts),
                inbox,
                room: Arc::clone(&room),
                stopping: stopping.clone(),
            };
            handle.threads.push(thread.start()?);
        }
        Ok(handle)
    }
}

/// Everything that one thread of a gateway begins with.
struct Thread {
    index: usize,
    ports: Ports,
    listeners: Listeners,
    posts: Arc<[Post]>,
    inbox: mpsc::UnboundedReceiver<Handed>,
    room: Arc<Semaphore>,
    stopping: watch::Receiver<Option<Duration>>,
}

impl Thread {
    fn start(self) -> io::Result<Running> {
        let runtime_thread = thread::Builder::new().name(format!("gateway-{}", self.index));
        let (done, ended) = oneshot::channel();
        let thread = runtime_thread.spawn(move || {
            if let Err(error) = self.run() {
                tracing::error!(%error, "a thread of the gateway ended");
            }
            let _ = done.send(());
        })?;
        Ok(Running { thread, ended })
    }

    fn run(self) -> io::Result<()> {
        let runtime = local_runtime()?;
        let load = Arc::clone(&self.posts[self.index].load);
        let worker = Rc::new(Worker::new(self.ports, load));
        let mut stopping = self.stopping;
        let mut inbox = self.inbox;
        runtime.block_on(async {
            let accepting = listen::accept(
                &worker,
                self.listeners.listen()?,
                (self.index, &self.posts),
                &mut inbox,
                self.room,
            );
            let grace = tokio::select! {
                () = accepting => Duration::ZERO,
                grace = stopping.wait_for(Option::is_some) => {
                    grace.ok().and_then(|grace| *grace).unwrap_or_default()
                }
            };
            let until = Instant::now() + grace;
            worker.stop();
            listen::receive_rest(&worker, inbox).await;
            let _ = tokio::time::timeout_at(until.into(), worker.deserted()).await;
            io::Result::Ok(())
        })
        // Dropping the runtime cuts what is left.
    }
}

fn local_runtime() -> io::Result<LocalRuntime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build_local(tokio::runtime::LocalOptions::default())
}

/// A running gateway. Dropping it stops the gateway without grace.
pub struct GatewayHandle {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
    redirect_address: Option<SocketAddr>,
    posts: Arc<[Post]>,
    stop: watch::Sender<Option<Duration>>,
    threads: Vec<Running>,
    /// Last: when the threads have ended, it writes what they left.
    _log: Option<Writer>,
}

struct Running {
    thread: JoinHandle<()>,
    ended: oneshot::Receiver<()>,
}

impl GatewayHandle {
    /// Where it listens, with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for TLS, with the real port; `None` when it does not.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where it sends callers to TLS, with the real port; `None` when it does not.
    pub fn redirect_addr(&self) -> Option<SocketAddr> {
        self.redirect_address
    }

    /// The door for calls from inside this process.
    pub fn dialer(&self) -> Arc<dyn Dial> {
        Arc::new(Dialer(Arc::clone(&self.posts)))
    }

    /// Accepts nothing more, lets calls under way end for at most `grace`, cuts the rest, and
    /// returns when every thread has ended. Works in any runtime.
    pub async fn shutdown(mut self, grace: Duration) {
        self.stop.send_replace(Some(grace));
        for running in std::mem::take(&mut self.threads) {
            let _ = running.ended.await;
            // It has said its last word: this does not wait.
            let _ = running.thread.join();
        }
    }
}

impl Drop for GatewayHandle {
    fn drop(&mut self) {
        self.stop
            .send_if_modified(|stop| stop.replace(Duration::ZERO).is_none());
    }
}

impl fmt::Debug for GatewayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, .. } = self;
        f.debug_struct("GatewayHandle")
            .field("address", address)
            .finish_non_exhaustive()
    }
}
