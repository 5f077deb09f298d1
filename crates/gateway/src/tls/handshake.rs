use std::{io, time::Duration};

use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use tokio_rustls::server::TlsStream;

use super::{ACME_PROTOCOL, Tls};

/// From the accept of a connection to the end of its handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What the first byte of a TLS connection is (RFC 8446, section 5.1: `handshake`).
const HANDSHAKE_RECORD: u8 = 0x16;
/// For those who forgot the `s` of `https`.
const NOT_PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nthis port speaks TLS: write https:// in place of http://\n";

/// Makes a connection one that nobody else reads. `None` when it is over by that: the caller is
/// too slow, speaks no TLS or asks for what is not here, or was an ACME server.
pub(crate) async fn shake_hands(tls: &Tls, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
    let secured = timeout(HANDSHAKE_TIMEOUT, accept(tls, stream)).await;
    match secured {
        Ok(Ok(Some(stream))) if stream.get_ref().1.alpn_protocol() == Some(ACME_PROTOCOL) => {
            tracing::debug!("an ACME server has seen its proof");
            close(stream).await;
            None
        }
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            None
        }
        Err(_) => None,
    }
}

async fn accept(tls: &Tls, mut stream: TcpStream) -> io::Result<Option<TlsStream<TcpStream>>> {
    let mut first = [0];
    // Before anything is made for it: one that says nothing costs its socket alone.
    if stream.peek(&mut first).await? == 0 {
        return Ok(None);
    }
    match first[0] {
        HANDSHAKE_RECORD => tls.acceptor.accept(stream).await.map(Some),
        b'A'..=b'Z' => {
            // What was sent is read, or the answer would be lost with the connection's reset.
            let mut sink = [0; 1024];
            let _ = stream.try_read(&mut sink);
            stream.write_all(NOT_PLAIN).await?;
            stream.shutdown().await?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

async fn close(mut stream: TlsStream<TcpStream>) {
    let _ = timeout(HANDSHAKE_TIMEOUT, stream.shutdown()).await;
}
