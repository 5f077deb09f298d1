use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    pin::Pin,
    task::{Context, Poll},
};

use hob_model::Endpoint;
use rustix::fs::{FileType, Mode, OFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpSocket, TcpStream, UnixStream},
};

use crate::namespace;

/// A connection to a replica, over either kind of socket.
pub(crate) enum Outlet {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Outlet {
    pub(crate) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        match endpoint {
            Endpoint::Unix(path) => connect_unix(path).await.map(Self::Unix),
            Endpoint::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                Self::tcp(socket, *address).await
            }
            Endpoint::Namespace { namespace, address } => {
                Self::tcp(namespace::socket(namespace)?, *address).await
            }
        }
    }

    async fn tcp(socket: TcpSocket, address: SocketAddr) -> io::Result<Self> {
        // A head and its body are separate writes at times; Nagle would hold the second.
        socket.set_nodelay(true)?;
        socket.connect(address).await.map(Self::Tcp)
    }

    /// The socket alone, out of the runtime's sight.
    pub(crate) fn into_socket(self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(stream) => stream.into_std().map(Into::into),
            Self::Tcp(stream) => stream.into_std().map(Into::into),
        }
    }

    /// The same socket under another descriptor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(stream) => stream.as_fd().try_clone_to_owned(),
            Self::Tcp(stream) => stream.as_fd().try_clone_to_owned(),
        }
    }
}

/// Connects to the socket itself. The folder that holds it is the replica's: a link put in its
/// place could lead to `hob.sock`, or to Docker's, and `connect` would follow it as root.
async fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let socket = rustix::fs::open(
        path,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&socket)?.st_mode);
    if kind != FileType::Socket {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Outlet::Unix($stream) => $call,
            Outlet::Tcp($stream) => $call,
        }
    };
}

impl AsyncRead for Outlet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Outlet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}
