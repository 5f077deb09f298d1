use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

/// How an HTTP/2 connection begins when nobody asked for an upgrade. No HTTP/1 method is `PRI`.
const PREFACE: &[u8] = b"PRI";
/// Room for the first bytes of a connection; a usual request head fits.
const FIRST_BYTES: usize = 2048;
/// The field that the tap looks for, with its colon.
const LENGTH: &[u8; 15] = b"content-length:";
/// In `Tap::begun`: no head is half read.
const NOT_BEGUN: u64 = u64::MAX;

/// A caller's connection. Passes bytes on untouched, and notes in its [`Tap`] what hyper does
/// not tell: whether a head had a length, and when a half-read head began.
pub(crate) struct Inlet {
    socket: Socket,
    /// Read before the protocol was known.
    first: Vec<u8>,
    given: usize,
    tap: Arc<Tap>,
    /// `None` once it is known that heads do not come as lines.
    scan: Option<Scan>,
}

/// A socket, of whichever kind.
pub(crate) enum Socket {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// The protocol that a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// What the bytes of a connection say about the head that is being read. Written by the
/// connection's own task only; atomic because hyper wants to be able to move it.
pub(crate) struct Tap {
    born: Instant,
    /// Whether the next bytes belong to a head.
    in_head: AtomicBool,
    length: AtomicBool,
    /// Milliseconds after `born` when the first bytes of a head came without its last.
    begun: AtomicU64,
}

/// Where in a head the last read ended.
#[derive(Default)]
struct Scan {
    /// The line's first bytes, as far as they can matter.
    line: [u8; LENGTH.len()],
    filled: usize,
    /// Whether any line was not empty; empty lines before a request are skipped.
    began: bool,
}

impl Inlet {
    pub(crate) fn new(socket: Socket, tap: Arc<Tap>) -> Self {
        Self {
            socket,
            first: Vec::new(),
            given: 0,
            tap,
            scan: Some(Scan::default()),
        }
    }

    /// Waits for the first bytes and tells the protocol by them. `None` when the caller hangs up.
    pub(crate) async fn sniff(&mut self) -> io::Result<Option<Protocol>> {
        self.first.reserve(FIRST_BYTES);
        loop {
            if self.socket.read_buf(&mut self.first).await? == 0 {
                return Ok(None);
            }
            let known = self.first.len().min(PREFACE.len());
            if self.first[..known] != PREFACE[..known] {
                return Ok(Some(Protocol::Http1));
            }
            if known == PREFACE.len() {
                self.scan = None;
                return Ok(Some(Protocol::Http2));
            }
        }
    }

    /// The first bytes of HTTP/1, which have to be [given back](Self::give_back).
    pub(crate) fn take_first(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.first)
    }

    /// A plain TCP socket, for a reader in front of hyper.
    pub(crate) fn tcp(&mut self) -> Option<&mut TcpStream> {
        match &mut self.socket {
            Socket::Tcp(stream) => Some(stream),
            Socket::Tls(_) | Socket::Unix(_) => None,
        }
    }

    /// Has `first` read by hyper before anything that is still to come.
    pub(crate) fn give_back(&mut self, first: Vec<u8>) {
        self.tap.note(self.scan.get_or_insert_default(), &first);
        self.first = first;
    }
}

// === impl Tap ===

impl Tap {
    pub(crate) fn new() -> Self {
        Self {
            born: Instant::now(),
            in_head: AtomicBool::new(true),
            length: AtomicBool::new(false),
            begun: AtomicU64::new(NOT_BEGUN),
        }
    }

    /// The head at hand is complete: what follows is its body.
    pub(crate) fn head_is_here(&self) {
        self.in_head.store(false, Ordering::Relaxed);
        self.begun.store(NOT_BEGUN, Ordering::Relaxed);
    }

    /// The next bytes are those of a new head.
    pub(crate) fn expect_head(&self) {
        self.length.store(false, Ordering::Relaxed);
        self.in_head.store(true, Ordering::Relaxed);
    }

    /// Whether the last head had a `Content-Length`.
    pub(crate) fn saw_length(&self) -> bool {
        self.length.load(Ordering::Relaxed)
    }

    /// Since when a head is half read.
    pub(crate) fn head_begun(&self) -> Option<Instant> {
        let begun = self.begun.load(Ordering::Relaxed);
        (begun != NOT_BEGUN).then(|| self.born + Duration::from_millis(begun))
    }

    fn note(&self, scan: &mut Scan, bytes: &[u8]) {
        if !self.in_head.load(Ordering::Relaxed) {
            return;
        }
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            scan.take(&rest[..end]);
            rest = &rest[end + 1..];
            if scan.ends_line(&self.length) {
                *scan = Scan::default();
                self.in_head.store(false, Ordering::Relaxed);
                self.begun.store(NOT_BEGUN, Ordering::Relaxed);
                return;
            }
        }
        scan.take(rest);
        if self.begun.load(Ordering::Relaxed) == NOT_BEGUN && !bytes.is_empty() {
            let begun = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(NOT_BEGUN - 1);
            self.begun.store(begun, Ordering::Relaxed);
        }
    }
}

impl Scan {
    fn take(&mut self, bytes: &[u8]) {
        let room = self.line.len() - self.filled;
        let bytes = &bytes[..bytes.len().min(room)];
        self.line[self.filled..self.filled + bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// At the end of a line: notes a length, and tells whether the head is over.
    fn ends_line(&mut self, length: &AtomicBool) -> bool {
        let line = &self.line[..self.filled];
        self.filled = 0;
        if line.is_empty() || line == b"\r" {
            return self.began;
        }
        self.began = true;
        if line.eq_ignore_ascii_case(LENGTH) {
            length.store(true, Ordering::Relaxed);
        }
        false
    }
}

// === reading and writing ===

impl AsyncRead for Inlet {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.given < this.first.len() {
            let rest = &this.first[this.given..];
            let rest = &rest[..rest.len().min(buf.remaining())];
            buf.put_slice(rest);
            this.given += rest.len();
            if this.given == this.first.len() {
                this.first = Vec::new();
                this.given = 0;
            }
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(cx, buf))?;
        if let Some(scan) = &mut this.scan {
            this.tap.note(scan, &buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Inlet {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_seen_however_the_head_is_cut_and_never_in_a_body() {
        let head = b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nCONTENT-length: 3\r\n\r\n";
        for cut in 0..head.len() {
            let (tap, mut scan) = (Tap::new(), Scan::default());
            tap.note(&mut scan, &head[..cut]);
            assert_eq!(tap.head_begun().is_some(), cut > 0, "{cut}");
            tap.note(&mut scan, &head[cut..]);
            assert!(tap.saw_length() && tap.head_begun().is_none(), "{cut}");
        }
        let (tap, mut scan) = (Tap::new(), Scan::default());
        tap.note(
            &mut scan,
            b"POST / HTTP/1.1\r\nHost: a\r\n\r\nContent-Length: 3\r\n\r\n",
        );
        tap.note(&mut scan, b"Content-Length: 3\r\n\r\n");
        assert!(!tap.saw_length());
    }
}
