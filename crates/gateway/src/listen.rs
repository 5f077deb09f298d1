use std::{
    future, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::net::UnixStream as InsideStream,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hob_model::{AddressRange, port::Dial};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::{TcpListener, TcpStream, UnixStream},
    sync::{
        Semaphore,
        mpsc::{self, error::SendError},
    },
};

use crate::{
    client::Client,
    connection,
    door::Place,
    inlet::{Inlet, Socket, Tap},
    worker::Worker,
};

/// Pause after a failed accept: out of file descriptors, mostly, and only time brings new ones.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often idle connections to replicas are looked through.
const SWEEP: Duration = Duration::from_secs(5);
/// Silence after which the kernel asks whether a caller is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection on its way to the thread that will serve it.
pub(crate) enum Handed {
    /// From a listener.
    Accepted {
        stream: std::net::TcpStream,
        peer: Peer,
        place: Place,
    },
    /// From this process.
    Dialed(InsideStream),
}

/// Who is on the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    pub(crate) kind: PeerKind,
    pub(crate) entrance: Entrance,
}

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// As it is.
    Plain,
    /// By TLS.
    Tls,
    /// As it is, where everybody is sent to TLS.
    Redirect,
}

/// What is on the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PeerKind {
    /// Anybody.
    Stranger,
    /// A function in a network of its own, which knows others by their names.
    Function,
    /// This very process, with calls that it has taken earlier: they say themselves who made them.
    Inside,
}

impl Peer {
    const INSIDE: Self = Self {
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        kind: PeerKind::Inside,
        entrance: Entrance::Plain,
    };
}

/// Where calls come in.
#[derive(Debug)]
pub struct Listeners {
    /// For everybody.
    pub main: std::net::TcpListener,
    /// For functions in networks of their own, at an address that only they reach.
    pub functions: Option<std::net::TcpListener>,
    /// That address, where `main` listens on it as well.
    pub function_address: Option<IpAddr>,
    /// The addresses that functions have: at theirs, others are strangers as everywhere. Default:
    /// all.
    pub function_network: Option<AddressRange>,
    /// For everybody, by TLS; needs [`crate::GatewayConfig::tls`].
    pub tls: Option<std::net::TcpListener>,
    /// Sends everybody there who comes without TLS.
    pub redirect: Option<std::net::TcpListener>,
}

/// The same, in a runtime.
pub(crate) struct Listening {
    main: TcpListener,
    functions: Option<TcpListener>,
    function_address: Option<IpAddr>,
    function_network: Option<AddressRange>,
    tls: Option<TcpListener>,
    redirect: Option<TcpListener>,
}

/// How the threads reach each other.
pub(crate) struct Post {
    pub(crate) sender: mpsc::UnboundedSender<Handed>,
    /// Connections that the thread has, or is about to get.
    pub(crate) load: Arc<AtomicUsize>,
}

/// Accepts connections for as long as it is polled, and gives each to the thread with the
/// fewest: which thread the kernel wakes is chance, and chance leaves cores idle.
pub(crate) async fn accept(
    worker: &Rc<Worker>,
    listening: Listening,
    (own, posts): (usize, &[Post]),
    inbox: &mut mpsc::UnboundedReceiver<Handed>,
    room: Arc<Semaphore>,
) {
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            handed = inbox.recv() => {
                if let Some(handed) = handed {
                    receive(worker, handed);
                }
            }
            _ = sweep.tick() => worker.sweep(Instant::now()),
            accepted = next(worker, &listening, &room) => {
                let Some((stream, peer, place)) = accepted else { continue };
                let least = least_busy(own, posts);
                posts[least].load.fetch_add(1, Ordering::Relaxed);
                if least == own {
                    begin(worker, Socket::Tcp(stream), peer, Some(place));
                } else if let Ok(stream) = stream.into_std() {
                    let handed = Handed::Accepted { stream, peer, place };
                    if let Err(SendError(handed)) = posts[least].sender.send(handed) {
                        // That thread has been told to stop already.
                        posts[least].load.fetch_sub(1, Ordering::Relaxed);
                        posts[own].load.fetch_add(1, Ordering::Relaxed);
                        receive(worker, handed);
                    }
                }
            }
        }
    }
}

/// Begins with the connections that other threads have accepted for one that stops. The next
/// server, which takes what waits at the listener, would never see them.
pub(crate) async fn receive_rest(worker: &Rc<Worker>, mut inbox: mpsc::UnboundedReceiver<Handed>) {
    inbox.close();
    while let Some(handed) = inbox.recv().await {
        receive(worker, handed);
    }
}

/// The next connection, once there is room for it.
async fn next(
    worker: &Worker,
    listening: &Listening,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, Peer, Place)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listening.accept().await {
        Ok((stream, peer)) => {
            let place = worker.door.let_in(&peer, permit);
            if place.is_none() {
                // It is reset, and leaves nothing to wait for.
                let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            Some((stream, peer, place?))
        }
        Err(error) => {
            tracing::warn!(%error, "cannot accept a connection");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

// === impl Listeners ===

impl From<std::net::TcpListener> for Listeners {
    fn from(main: std::net::TcpListener) -> Self {
        Self {
            main,
            functions: None,
            function_address: None,
            function_network: None,
            tls: None,
            redirect: None,
        }
    }
}

impl Listeners {
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        let clone = |listener: &Option<std::net::TcpListener>| {
            listener.as_ref().map(|one| one.try_clone()).transpose()
        };
        Ok(Self {
            main: self.main.try_clone()?,
            functions: clone(&self.functions)?,
            function_address: self.function_address,
            function_network: self.function_network,
            tls: clone(&self.tls)?,
            redirect: clone(&self.redirect)?,
        })
    }

    /// Where it listens for TLS, and where it sends others there.
    pub(crate) fn tls_addresses(&self) -> io::Result<(Option<SocketAddr>, Option<SocketAddr>)> {
        let address = |listener: &Option<std::net::TcpListener>| {
            listener.as_ref().map(|one| one.local_addr()).transpose()
        };
        Ok((address(&self.tls)?, address(&self.redirect)?))
    }

    pub(crate) fn listen(self) -> io::Result<Listening> {
        let listen = |listener: std::net::TcpListener| {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        Ok(Listening {
            main: listen(self.main)?,
            functions: self.functions.map(listen).transpose()?,
            function_address: self.function_address,
            function_network: self.function_network,
            tls: self.tls.map(listen).transpose()?,
            redirect: self.redirect.map(listen).transpose()?,
        })
    }
}

// === impl Listening ===

impl Listening {
    async fn accept(&self) -> io::Result<(TcpStream, Peer)> {
        let (accepted, is_function, entrance) = tokio::select! {
            accepted = self.main.accept() => (accepted, false, Entrance::Plain),
            accepted = accept_at(&self.functions) => (accepted, true, Entrance::Plain),
            accepted = accept_at(&self.tls) => (accepted, false, Entrance::Tls),
            accepted = accept_at(&self.redirect) => (accepted, false, Entrance::Redirect),
        };
        let (stream, address) = accepted?;
        let asked = self.function_address;
        let here = || stream.local_addr().map(|here| here.ip().to_canonical());
        let is_asked = is_function
            || entrance == Entrance::Plain
                && asked.is_some_and(|asked| here().is_ok_and(|ip| ip == asked));
        // Neighbours of the machine may have a way to that address too.
        let network = self.function_network;
        let is_function = is_asked && network.is_none_or(|all| all.contains(address.ip()));
        let kind = match is_function {
            true => PeerKind::Function,
            false => PeerKind::Stranger,
        };
        Ok((
            stream,
            Peer {
                address,
                kind,
                entrance,
            },
        ))
    }
}

/// Never, where nobody listens.
async fn accept_at(listener: &Option<TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => future::pending().await,
    }
}

/// The inner door of a running gateway.
pub(crate) struct Dialer(pub(crate) Arc<[Post]>);

impl Dial for Dialer {
    fn dial(&self) -> io::Result<InsideStream> {
        let (ours, theirs) = InsideStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        let least = least_busy(0, &self.0);
        self.0[least].load.fetch_add(1, Ordering::Relaxed);
        let sent = self.0[least].sender.send(Handed::Dialed(theirs));
        sent.map_err(|_| {
            io::Error::new(io::ErrorKind::ConnectionRefused, "the gateway has ended")
        })?;
        Ok(ours)
    }
}

/// The own thread, unless another has fewer connections.
fn least_busy(own: usize, posts: &[Post]) -> usize {
    let load = |index: usize| posts[index].load.load(Ordering::Relaxed);
    (0..posts.len()).fold(own, |least, index| {
        if load(index) < load(least) {
            index
        } else {
            least
        }
    })
}

fn receive(worker: &Rc<Worker>, handed: Handed) {
    let received = match handed {
        Handed::Accepted {
            stream,
            peer,
            place,
        } => TcpStream::from_std(stream).map(|stream| (Socket::Tcp(stream), peer, Some(place))),
        Handed::Dialed(stream) => {
            UnixStream::from_std(stream).map(|stream| (Socket::Unix(stream), Peer::INSIDE, None))
        }
    };
    match received {
        Ok((socket, peer, place)) => begin(worker, socket, peer, place),
        Err(error) => {
            worker.lighten();
            tracing::warn!(%error, "cannot serve a connection");
        }
    }
}

fn begin(worker: &Rc<Worker>, socket: Socket, peer: Peer, place: Option<Place>) {
    if let Socket::Tcp(stream) = &socket {
        // A head and a body may be separate writes; Nagle would hold the second back.
        let _ = stream.set_nodelay(true);
        // Callers that vanish without a word would otherwise hold WebSockets and streams for ever.
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
    let tap = Arc::new(Tap::new());
    let client = Rc::new(Client::new(
        Rc::clone(worker),
        peer,
        Arc::clone(&tap),
        place,
    ));
    worker.welcome(&client);
    match (socket, peer.entrance) {
        (Socket::Tcp(stream), Entrance::Tls) => {
            tokio::task::spawn_local(connection::serve_tls(client, stream, tap));
        }
        (socket, _) => {
            let inlet = Inlet::new(socket, Arc::clone(&tap));
            tokio::task::spawn_local(connection::serve(client, inlet, tap));
        }
    }
}
