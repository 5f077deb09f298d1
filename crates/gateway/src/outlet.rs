use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use hob_model::Endpoint;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, tcp, unix},
};

use crate::outbox::{Outbox, WriteHalf};

/// A connection to a replica, over either kind of socket.
pub(crate) struct Outlet {
    reader: ReadHalf,
    outbox: Arc<Outbox>,
}

enum ReadHalf {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl Outlet {
    pub(crate) async fn connect(endpoint: &Endpoint) -> io::Result<Self> {
        let (reader, writer) = match endpoint {
            Endpoint::Unix(path) => {
                let (reader, writer) = UnixStream::connect(path).await?.into_split();
                (ReadHalf::Unix(reader), WriteHalf::Unix(writer))
            }
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // A head and its body are separate writes at times; Nagle would hold the second.
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                (ReadHalf::Tcp(reader), WriteHalf::Tcp(writer))
            }
        };
        let outbox = Outbox::new(writer);
        Ok(Self { reader, outbox })
    }
}

impl AsyncRead for Outlet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().reader {
            ReadHalf::Tcp(reader) => Pin::new(reader).poll_read(cx, buf),
            ReadHalf::Unix(reader) => Pin::new(reader).poll_read(cx, buf),
        }
    }
}

/// Not vectored: small messages are copied together anyway, and so they are by hyper.
impl AsyncWrite for Outlet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.outbox.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_shutdown(cx)
    }
}
impl Drop for Outlet {
    fn drop(&mut self) {
        self.outbox.orphan();
    }
}
