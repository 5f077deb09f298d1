use std::{io, time::Duration};

use http::{Request, Response, header};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper::{
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::{Address, ClientError};

/// Longest wait for a server to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What is sent: in memory or streamed from a file.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// Sends one request over a connection of its own.
pub(super) async fn send(
    address: &Address,
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
        Address::Tcp { host, port } => {
            let target = (host.as_str(), *port);
            let stream = connect(address, TcpStream::connect(target)).await?;
            exchange(address, stream, request).await
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
            "{} is not open to this user: run as the user who started hob (`sudo hob …`), or use --server URL with HOB_PASSWORD",
            path.display()
        )),
        (Address::Socket(_), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            ClientError::Unreachable(format!(
                "no hob answers at {address}: start it with `hob up`, or name one with --server URL"
            ))
        }
        (Address::Socket(_), _) => {
            ClientError::Unreachable(format!("no hob answers at {address}: {error}"))
        }
        (Address::Tcp { .. }, _) => ClientError::Unreachable(format!(
            "no hob answers at {address} ({error}): start it with `hob up`, or correct --server"
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
    let broken = |error: hyper::Error| ClientError::Broken {
        place: address.to_string(),
        problem: words(&error),
    };
    let handshake = http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(broken)?;
    // It ends with the answer; its errors arrive at the body's reader too.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
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
