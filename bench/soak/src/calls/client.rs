use std::{
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use super::{
    functions::Function,
    sample::{Attempt, Reply, Sample, Span},
};

/// A call without an answer for so long has failed.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Every so many calls one has a connection of its own, which is closed after it.
const OWN_CONNECTION: u64 = 4;
/// Connections that are kept for the next calls.
const KEPT_MAX: usize = 32;
/// Characters of an unexpected answer that are kept.
const TEXT_MAX: usize = 200;

/// Makes calls, over connections that it keeps and over new ones.
#[derive(Debug)]
pub(super) struct Client {
    address: SocketAddr,
    kept: Mutex<Vec<Connection>>,
}

#[derive(Debug)]
struct Connection {
    opened: Instant,
    sender: SendRequest<Full<Bytes>>,
}

/// A call to be made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask {
    pub(super) function: Function,
    /// Counts the calls of the function.
    pub(super) number: u64,
    pub(super) due: Instant,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            kept: Mutex::default(),
        }
    }

    /// Makes a call. One whose connection breaks is sent once more, as callers of functions that
    /// may be called twice do.
    pub(super) async fn call(&self, ask: Ask) -> Sample {
        let first = self
            .attempt(&ask, ask.number.is_multiple_of(OWN_CONNECTION))
            .await;
        let again = match first.reply {
            // Whoever let one connection break may be about to close the kept ones.
            Reply::Broken(_) => Some(self.attempt(&ask, true).await),
            _ => None,
        };
        Sample {
            function: ask.function,
            method: ask.function.method(ask.number),
            due: ask.due,
            first,
            again,
        }
    }

    /// Over a connection of its `own`, or one that is kept.
    async fn attempt(&self, ask: &Ask, own: bool) -> Attempt {
        let start = Instant::now();
        let mut opened = None;
        let exchange = timeout(PATIENCE, self.exchange(ask, own, &mut opened)).await;
        let reply = match exchange {
            Ok(Ok(reply) | Err(reply)) => reply,
            Err(_) => Reply::Late,
        };
        let end = Instant::now();
        Attempt {
            opened,
            span: Span { start, end },
            reply,
        }
    }

    async fn exchange(
        &self,
        ask: &Ask,
        own: bool,
        opened: &mut Option<Instant>,
    ) -> Result<Reply, Reply> {
        let mut request = ask.request(self.address, own);
        loop {
            let kept = if own { None } else { self.take().await };
            let was_kept = kept.is_some();
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(self.address).await?,
            };
            *opened = Some(connection.opened);
            let answer = match connection.sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut error) => match error.take_message() {
                    // It was closed while nothing was on it, and nothing of the call was sent.
                    Some(back) if was_kept => {
                        request = back;
                        continue;
                    }
                    _ => return Err(Reply::Broken(error.into_error().to_string())),
                },
            };
            let (head, body) = answer.into_parts();
            let body = body.collect().await;
            let body = body.map_err(|error| Reply::Broken(error.to_string()))?;
            if !own {
                self.put(connection);
            }
            let body = body.to_bytes();
            return Ok(ask.read(head.status.as_u16(), &head.headers, &body));
        }
    }

    /// A kept connection that is still open.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.kept().pop()?;
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    fn put(&self, connection: Connection) {
        let mut kept = self.kept();
        if kept.len() < KEPT_MAX && !connection.sender.is_closed() {
            kept.push(connection);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Reply> {
        let stream = TcpStream::connect(address).await;
        let stream = stream.map_err(|error| Reply::Refused(error.to_string()))?;
        let opened = Instant::now();
        let broken = |error: hyper::Error| Reply::Broken(error.to_string());
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        tokio::spawn(connection);
        Ok(Self { opened, sender })
    }
}

impl Ask {
    fn request(&self, address: SocketAddr, own: bool) -> Request<Full<Bytes>> {
        let method = self.function.method(self.number);
        let body = match method {
            Method::POST => Bytes::from(format!("call {}", self.number)),
            _ => Bytes::new(),
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        let target = self.function.target(self.number);
        // Its parts are names and numbers.
        *request.uri_mut() = target.parse().unwrap_or_default();
        let headers = request.headers_mut();
        if let Ok(host) = address.to_string().parse() {
            headers.insert(header::HOST, host);
        }
        if own {
            let close = header::HeaderValue::from_static("close");
            headers.insert(header::CONNECTION, close);
        }
        request
    }

    fn read(&self, status: u16, headers: &HeaderMap, body: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(body);
        let field = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default()
        };
        let revision = self.function.revision(self.number, &text);
        match revision {
            Some(revision) if status == 200 => Reply::Right {
                revision,
                woken: woken(field("server-timing")),
            },
            _ => Reply::Other {
                status,
                end: field("x-hob-end").to_owned(),
                text: text.chars().take(TEXT_MAX).collect(),
            },
        }
    }
}

/// Whether a `Server-Timing` tells of a wake.
fn woken(timing: &str) -> bool {
    let mut parts = timing.split(", ");
    parts.any(|part| part.starts_with("wake;dur=") && part != "wake;dur=0.000")
}
