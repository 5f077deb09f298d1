use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Address, ClientError, tls::Tls};

/// Longest wait for a server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is sent: in memory or streamed from a file.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A stream that is read on when nobody takes what is written: a server that refuses an upload may
/// close before all of it is there, and what it said must not be lost.
struct Patient<S> {
    stream: S,
    is_refused: bool,
}

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Sends one request over a connection of its own.
pub(super) async fn send(
    address: &Address,
    tls: Option<&Tls>,
    mut request: Request<Body>,
) -> Result<Response<Incoming>, ClientError> {
    let host = address.authority();
    if let Ok(host) = host.parse() {
        request.headers_mut().entry(header::HOST).or_insert(host);
    }
    match address {
        Address::Socket(path) => {
            let stream = connect(address, UnixStream::connect(path)).await?;
            exchange(address, stream, request).await
        }
        Address::Tcp { host, port, .. } => {
            let target = (host.as_str(), *port);
            let stream = connect(address, TcpStream::connect(target)).await?;
            match tls {
                Some(tls) => {
                    let stream = tls.wrap(address, host, stream).await?;
                    exchange(address, stream, request).await
                }
                None => exchange(address, stream, request).await,
            }
        }
    }
}

async fn connect<S>(
    address: &Address,
    connecting: impl Future<Output = io::Result<S>>,
) -> Result<S, ClientError> {
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(unreachable(address, &error)),
        Err(_) => Err(ClientError::Unreachable(format!(
            "{address} accepts no connection within {} s: is it the right address, and does a firewall let it through?",
            CONNECT_TIMEOUT.as_secs()
        ))),
    }
}

fn unreachable(address: &Address, error: &io::Error) -> ClientError {
    match (address, error.kind()) {
        (Address::Socket(path), io::ErrorKind::PermissionDenied) => ClientError::Denied(format!(
            "{} is not open to this user: run as the user who started hob (`sudo hob …`), or log in with `hob login URL`",
            path.display()
        )),
        (Address::Socket(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            ClientError::Unreachable(format!(
                "no hob answers at {address}: start it with `hob up`, or log in to one elsewhere with `hob login URL`"
            ))
        }
        (Address::Socket(_), _) => {
            ClientError::Unreachable(format!("no hob answers at {address}: {error}"))
        }
        (Address::Tcp { .. }, _) => ClientError::Unreachable(format!(
            "no hob answers at {address} ({error}): start it with `hob up`, or correct the address"
        )),
    }
}

async fn exchange<S>(
    address: &Address,
    stream: S,
    request: Request<Body>,
) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| {
        let mut problem = words(&error);
        // What a server of TLS says to whoever speaks none, if it says anything.
        if error.is_parse() && address.is_plain() {
            problem += ": if it speaks TLS, write https://";
        }
        ClientError::Broken {
            place: address.to_string(),
            problem,
        }
    };
    let handshake = http1::handshake(TokioIo::new(Patient::new(stream)));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    // It ends with the answer; its errors arrive at the body's reader too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

// === impl Patient ===

impl<S> Patient<S> {
    fn new(stream: S) -> Self {
        Self {
            stream,
            is_refused: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Patient<S> {
    /// Writes, and after the other end has closed waits for ever: the reading side, which ends with
    /// the answer or without one, tells how this went.
    fn write<T>(
        &mut self,
        write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset};

        if self.is_refused {
            return Poll::Pending;
        }
        match write(Pin::new(&mut self.stream)) {
            Poll::Ready(Err(error)) if matches!(error.kind(), BrokenPipe | ConnectionReset) => {
                self.is_refused = true;
                Poll::Pending
            }
            other => other,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.write(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// An error with the causes below it, on one line.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(cause) = below {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        below = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixListener,
        sync::mpsc,
        thread,
    };

    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    /// A server that says this while the body of a request is under way, and closes.
    async fn hears(said: &'static str) -> Result<Bytes, ClientError> {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("socket");
        let server = UnixListener::bind(&path).expect("bound");
        let (start, started) = mpsc::channel::<()>();
        let (end, ended) = mpsc::channel::<()>();
        let server = thread::spawn(move || {
            let (mut stream, _) = server.accept().expect("accepted");
            started.recv().expect("the body is asked for");
            let mut head = [0; 16];
            stream.read_exact(&mut head).expect("a part of the head");
            stream.write_all(said.as_bytes()).expect("said");
            drop(stream);
            end.send(()).expect("still there");
        });
        // The second chunk is there when the server has gone, and hyper has looked for an answer
        // before, in vain.
        let mut step = 0;
        let body = futures_util::stream::poll_fn(move |context| {
            step += 1;
            match step {
                1 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"first"))))),
                2 => {
                    context.waker().wake_by_ref();
                    Poll::Pending
                }
                3 => {
                    start.send(()).expect("the server waits");
                    ended.recv().expect("the server has answered");
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"second")))))
                }
                _ => Poll::Pending,
            }
        });
        let request = Request::post("/").body(StreamBody::new(body).boxed_unsync());
        let answer = send(&Address::Socket(path), None, request.expect("valid")).await;
        server.join().expect("ended");
        let body = answer?.into_body().collect().await.expect("whole");
        Ok(body.to_bytes())
    }

    #[tokio::test]
    async fn what_a_server_says_before_it_hangs_up_is_heard() {
        let said = "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\nno";
        assert_eq!(hears(said).await.expect("an answer"), "no");
        let error = hears("").await.expect_err("no answer");
        assert!(error.to_string().contains("broke off"), "{error}");
    }
}
