use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{io::AsyncReadExt, net::TcpStream, time::Sleep};

use crate::{
    BoxError,
    body::Outgoing,
    call,
    client::Client,
    inlet::{Inlet, Protocol, Socket, Tap},
    lane::{self, Exit},
    listen::Entrance,
    tls,
};

/// How long a connection goes on reading after an answer that did not wait for the whole
/// request, so that the caller gets to read the answer before the connection resets.
const LINGER: Duration = Duration::from_secs(2);
/// How long a caller who was accepted just before the gateway stops may take to send the first
/// bytes: they are most likely under way, and nobody else will answer them.
const FIRST_BYTES_GRACE: Duration = Duration::from_millis(250);
/// How many times within the idle timeout a busy connection looks whether its caller still reads.
const STALL_LOOKS: u32 = 4;
/// How often an HTTP/2 peer is asked whether it is still there.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// Resets by an HTTP/2 peer that may await handling; more end the connection.
const RESETS_MAX: usize = 20;
/// Window for the body of one HTTP/2 stream, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// Window for all bodies of an HTTP/2 connection, in bytes.
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Answer bytes that wait for the peer's window on one HTTP/2 stream.
const STREAM_SEND_BUFFER: usize = 256 << 10;

/// Serves one connection that came by TLS to its end.
pub(crate) async fn serve_tls(client: Rc<Client>, stream: TcpStream, tap: Arc<Tap>) {
    let Some(tls) = &client.worker().tls else {
        return;
    };
    let secured = unless_stopping(&client, tls::shake_hands(tls, stream)).await;
    if let Some(Some(secured)) = secured {
        let inlet = Inlet::new(Socket::Tls(Box::new(secured)), Arc::clone(&tap));
        serve(client, inlet, tap).await;
    }
}

/// Serves one connection to its end.
pub(crate) async fn serve(client: Rc<Client>, mut inlet: Inlet, tap: Arc<Tap>) {
    let head_timeout = client.worker().config.head_timeout;
    let protocol =
        tokio::time::timeout(head_timeout, unless_stopping(&client, inlet.sniff())).await;
    let calls = service_fn(|request| call::answer(Rc::clone(&client), request));
    match protocol {
        Ok(Some(Ok(Some(Protocol::Http1)))) => {
            let mut first = inlet.take_first();
            if client.entrance == Entrance::Plain
                && let Some(stream) = inlet.tcp()
            {
                first = match lane::serve(&client, stream, &first).await {
                    Exit::Closed => return,
                    Exit::Other(first) => first,
                };
            }
            inlet.give_back(first);
            let connection = http1(&client).serve_connection(TokioIo::new(inlet), calls);
            let mut connection = connection.with_upgrades();
            drive(Pin::new(&mut connection), &client, &tap, Protocol::Http1).await;
            if client.is_unread()
                && let Some(parts) = connection.into_parts()
            {
                linger(parts.io.into_inner()).await;
            }
        }
        Ok(Some(Ok(Some(Protocol::Http2)))) => {
            let connection = http2(&client).serve_connection(TokioIo::new(inlet), calls);
            drive(pin!(connection), &client, &tap, Protocol::Http2).await;
        }
        // Hung up, silent for too long, or nobody is served any more.
        Ok(Some(Ok(None) | Err(_)) | None) | Err(_) => {}
    }
}

fn http1(client: &Client) -> http1::Builder {
    let config = &client.worker().config;
    let mut builder = http1::Builder::new();
    builder
        .title_case_headers(true)
        .max_buf_size(config.head_bytes)
        // `drive` keeps the time of heads, with one timer for all that a connection waits for.
        .header_read_timeout(None);
    builder
}

fn http2(client: &Client) -> http2::Builder<LocalExecutor> {
    let config = &client.worker().config;
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams)
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_SEND_BUFFER)
        .keep_alive_interval(PING_INTERVAL);
    builder
}

/// Runs a connection until it ends, is idle or slow for too long, or is cut.
async fn drive<C: Graceful>(
    mut connection: Pin<&mut C>,
    client: &Client,
    tap: &Tap,
    protocol: Protocol,
) {
    let config = &client.worker().config;
    let mut timer = pin!(tokio::time::sleep(config.idle_timeout));
    let mut told = false;
    poll_fn(|cx| {
        client.driven_by(cx.waker());
        let mut over = connection.as_mut().poll(cx).is_ready();
        // After it has looked: a request that is here by now is answered.
        if !over && client.is_finishing() && !std::mem::replace(&mut told, true) {
            connection.as_mut().graceful_shutdown();
            over = connection.as_mut().poll(cx).is_ready();
        }
        // Of HTTP/2, only the stream is cut: its body ends with an error.
        let cut = client.is_cut() && protocol == Protocol::Http1;
        if over || cut {
            return Poll::Ready(());
        }
        if let Some(begun) = tap.head_begun() {
            let due = begun + config.head_timeout;
            if timer.deadline().into_std() > due {
                timer.as_mut().reset(due.into());
            }
        }
        poll_timer(timer.as_mut(), cx, client, tap)
    })
    .await;
}

/// Ready when the connection should close. The timer stands where it was first set and looks
/// at what is due only when it fires, so that calls do not touch it.
fn poll_timer(
    mut timer: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
    client: &Client,
    tap: &Tap,
) -> Poll<()> {
    let config = &client.worker().config;
    while timer.as_mut().poll(cx).is_ready() {
        let now = Instant::now();
        let due = match (client.idle_since(), tap.head_begun()) {
            (None, _) => match client.stalled_since() {
                Some(since) => since + config.idle_timeout,
                None => now + config.idle_timeout / STALL_LOOKS,
            },
            (Some(_), Some(begun)) => begun + config.head_timeout,
            (Some(since), None) => since + config.idle_timeout,
        };
        if due <= now {
            return Poll::Ready(());
        }
        timer
            .as_mut()
            .reset(due.max(now + Duration::from_millis(1)).into());
    }
    Poll::Pending
}

/// Reads on after the answer, so that what the caller still sends does not reset it.
async fn linger(mut inlet: Inlet) {
    let mut sink = vec![0; 16 << 10];
    let drain = async { while matches!(inlet.read(&mut sink).await, Ok(1..)) {} };
    let _ = tokio::time::timeout(LINGER, drain).await;
}

/// `None` when the gateway stops, and nothing more comes of `future` soon.
async fn unless_stopping<F: Future>(client: &Client, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let before = poll_fn(|cx| {
        client.driven_by(cx.waker());
        match future.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            Poll::Pending if client.worker().is_stopping() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    match before.await {
        Some(done) => Some(done),
        None => tokio::time::timeout(FIRST_BYTES_GRACE, future).await.ok(),
    }
}

/// Runs the streams of HTTP/2 connections on the thread of their connection.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F> hyper::rt::Executor<F> for LocalExecutor
where
    F: Future + 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// A connection that can be told to end after the call at hand.
trait Graceful: Future<Output = hyper::Result<()>> {
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<S> Graceful for http1::UpgradeableConnection<TokioIo<Inlet>, S>
where
    S: HttpService<Incoming, ResBody = Outgoing>,
    S::Error: Into<BoxError>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}

impl<S> Graceful for http2::Connection<TokioIo<Inlet>, S, LocalExecutor>
where
    S: HttpService<Incoming, ResBody = Outgoing>,
    S::Error: Into<BoxError>,
    LocalExecutor: hyper::rt::bounds::Http2ServerConnExec<S::Future, Outgoing>,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        Self::graceful_shutdown(self);
    }
}
