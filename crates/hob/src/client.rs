//! Talks to a server: over its unix socket with no login, or over TCP or TLS with a password or a
//! token.

use std::{fmt::Display, time::Duration};

use futures_util::TryStreamExt;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use tokio_util::io::ReaderStream;

use crate::{config::ClientConfig, contexts::Remote};
use tls::Tls;

mod address;
mod connection;
mod error;
mod lines;
mod login;
mod tls;

pub(crate) use address::Address;
use address::Scheme;
pub(crate) use connection::{Body, empty};
pub(crate) use error::ClientError;
pub(crate) use lines::Lines;
pub(crate) use login::{ADMIN, Login};
pub(crate) use tls::read_certificates;

/// Longest wait for the answer to a request that starts or stops nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for the answer to a request that starts or stops replicas: the server has
/// bounds of its own, well below this.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(180);
/// Bytes of a file that are read from disk at once.
const FILE_CHUNK: usize = 256 << 10;
/// Largest JSON answer or error text that is read, in bytes.
const ANSWER_MAX: usize = 64 << 20;

/// A server that is asked over one connection per request.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    address: Address,
    login: Option<Login>,
    /// Where the login is from, for who has to mend it.
    source: Source,
    /// For servers that are reached over TLS.
    tls: Option<Tls>,
}

/// Where a login is from, or would have to be.
#[derive(Debug, Clone)]
enum Source {
    /// `HOB_PASSWORD`.
    Variable,
    /// The context of this name.
    Context(String),
    /// There is none, or it is in the URL.
    Nowhere,
}

impl Client {
    /// A client of the server that the settings name.
    ///
    /// # Errors
    /// A usage failure when the address or a certificate cannot be read.
    pub(crate) fn new(config: &ClientConfig) -> anyhow::Result<Self> {
        match &config.server {
            Some(remote) => Self::of(remote),
            None => Ok(Self::without_login(Address::Socket(config.socket()))),
        }
    }

    /// A client of a server elsewhere.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn of(remote: &Remote) -> anyhow::Result<Self> {
        let address = Address::parse(&remote.url)?;
        let in_url = remote.context.is_none() && remote.login.is_some();
        if (remote.by_variable || in_url) && address.is_exposed() {
            eprintln!(
                "warning: the password goes to {address} unencrypted: use https, or a tunnel, as in `ssh -L 8080:127.0.0.1:8080 HOST`"
            );
        }
        let source = match &remote.context {
            _ if remote.by_variable => Source::Variable,
            Some(name) => Source::Context(name.clone()),
            None => Source::Nowhere,
        };
        Ok(Self {
            tls: tls(&address, &remote.authorities)?,
            address,
            login: remote.login.clone(),
            source,
        })
    }

    /// A client that never shows a password, over a socket or over TCP as it is.
    pub(crate) fn without_login(address: Address) -> Self {
        Self {
            address,
            login: None,
            source: Source::Nowhere,
            tls: None,
        }
    }

    /// A client of the same machine that never shows a password.
    ///
    /// # Errors
    /// When no certificates can be checked.
    pub(crate) fn stranger_at(&self, address: Address) -> anyhow::Result<Self> {
        let tls = match &self.tls {
            Some(tls) => Some(tls.clone()),
            None => tls(&address, &[])?,
        };
        Ok(Self {
            tls,
            ..Self::without_login(address)
        })
    }

    /// Where the server is.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a server answers at all, whatever it says.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] or [`ClientError::Broken`].
    pub(crate) async fn reach(&self) -> Result<(), ClientError> {
        let request = self.request(Method::GET, "/healthz", empty());
        match timeout(ANSWER_TIMEOUT, self.send(request)).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(self.broken(format!("no answer in {} s", ANSWER_TIMEOUT.as_secs()))),
        }
    }

    /// The JSON at `path`.
    ///
    /// # Errors
    /// [`ClientError`], also when the JSON is not of the shape expected.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let answer = self.bounded(ANSWER_TIMEOUT, Method::GET, path, empty());
        self.parse(&self.collect(answer.await?).await?)
    }

    /// Sends `body` and reads the JSON that comes back.
    ///
    /// # Errors
    /// [`ClientError`], also when the JSON is not of the shape expected.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let body = full(body);
        let answer = self.bounded(CHANGE_TIMEOUT, Method::POST, path, body);
        self.parse(&self.collect(answer.await?).await?)
    }

    /// Puts `body` at `path`; true when it is new there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn put(&self, path: &str, body: Vec<u8>) -> Result<bool, ClientError> {
        let answer = self.bounded(ANSWER_TIMEOUT, Method::PUT, path, full(body));
        Ok(answer.await?.status() == StatusCode::CREATED)
    }

    /// Deletes what is at `path`; returns what the server has to say about it, mostly nothing.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(crate) async fn delete(&self, path: &str) -> Result<String, ClientError> {
        let answer = self.bounded(CHANGE_TIMEOUT, Method::DELETE, path, empty());
        let said = self.collect(answer.await?).await?;
        Ok(String::from_utf8_lossy(&said).trim().to_owned())
    }

    /// An answer of any length, as it comes.
    ///
    /// # Errors
    /// [`ClientError`] until the head of the answer is there.
    pub(crate) async fn stream(
        &self,
        method: Method,
        path: &str,
        body: Body,
        length: Option<u64>,
    ) -> Result<Response<Incoming>, ClientError> {
        self.stream_with(HeaderMap::new(), method, path, body, length)
            .await
    }

    /// The same, with more in the head of the request.
    ///
    /// # Errors
    /// [`ClientError`] until the head of the answer is there.
    pub(crate) async fn stream_with(
        &self,
        headers: HeaderMap,
        method: Method,
        path: &str,
        body: Body,
        length: Option<u64>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = self.request(method, path, body);
        request.headers_mut().extend(headers);
        if let Some(length) = length {
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_LENGTH, length.into());
        }
        self.checked(self.send(request).await?).await
    }

    /// The JSON of an answer whose head is here.
    ///
    /// # Errors
    /// [`ClientError`], also when the JSON is not of the shape expected.
    pub(crate) async fn json<T: DeserializeOwned>(
        &self,
        answer: Response<Incoming>,
    ) -> Result<T, ClientError> {
        self.parse(&self.collect(answer).await?)
    }

    /// The lines of a streamed answer.
    pub(crate) fn lines(&self, answer: Response<Incoming>) -> Lines {
        Lines::new(answer.into_body(), self.address.to_string())
    }

    /// Sends a request as it is and returns whatever is answered.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`], [`ClientError::Denied`] or [`ClientError::Broken`].
    pub(crate) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, ClientError> {
        connection::send(&self.address, self.tls.as_ref(), request).await
    }

    async fn bounded(
        &self,
        limit: Duration,
        method: Method,
        path: &str,
        body: Body,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = self.request(method, path, body);
        match timeout(limit, self.send(request)).await {
            Ok(answer) => self.checked(answer?).await,
            Err(_) => Err(self.broken(format!("no answer in {} s", limit.as_secs()))),
        }
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Request<Body> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        // Every caller builds its path from checked names and numbers.
        *request.uri_mut() = path.parse().unwrap_or_default();
        if let Some(login) = self.login.as_ref().and_then(Login::header) {
            request.headers_mut().insert(header::AUTHORIZATION, login);
        }
        request
    }

    async fn checked(&self, answer: Response<Incoming>) -> Result<Response<Incoming>, ClientError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = self.collect(answer).await.unwrap_or_default();
        let said = String::from_utf8_lossy(&text).trim().replace('\n', " ");
        let said = if said.is_empty() {
            format!("{} answered {status}", self.address)
        } else {
            said
        };
        Err(match status {
            StatusCode::UNAUTHORIZED => ClientError::Denied(self.denied()),
            StatusCode::FORBIDDEN => ClientError::NotAllowed(said),
            StatusCode::NOT_FOUND => ClientError::NotFound(said),
            _ => ClientError::Refused(said),
        })
    }

    fn denied(&self) -> String {
        let place = &self.address;
        match (&self.source, &self.login) {
            (Source::Variable, _) => format!(
                "{place} does not accept the password or token in HOB_PASSWORD: the password was shown when that server started for the first time, and `hob passwd` on that machine sets a new one"
            ),
            (Source::Context(name), Some(login)) => format!(
                "{place} does not accept {} of context `{name}` any more: log in with `hob login {place} --name {name}`",
                match login {
                    Login::Password { .. } => "the password",
                    Login::Token { .. } => "the token",
                }
            ),
            (Source::Context(name), None) => format!(
                "{place} asks for a login, and context `{name}` has none: `hob login {place} --name {name}`"
            ),
            (Source::Nowhere, Some(_)) => format!(
                "{place} does not accept the login in its URL: write USER:PASSWORD or USER:TOKEN before the host"
            ),
            (Source::Nowhere, None) => format!(
                "{place} asks for the admin password: log in with `hob login {place}`, or put it into HOB_PASSWORD"
            ),
        }
    }

    async fn collect(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        match timeout(ANSWER_TIMEOUT, body).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) => Err(self.broken(error)),
            Err(_) => Err(self.broken("it stopped in the middle")),
        }
    }

    fn parse<T: DeserializeOwned>(&self, json: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(json).map_err(|error| {
            self.broken(format!(
                "no hob of this version speaks like this ({error}): is the address right?"
            ))
        })
    }

    fn broken(&self, problem: impl Display) -> ClientError {
        ClientError::Broken {
            place: self.address.to_string(),
            problem: problem.to_string(),
        }
    }
}

/// Whom to believe where certificates are shown.
fn tls(address: &Address, authorities: &[String]) -> anyhow::Result<Option<Tls>> {
    let is_tls = matches!(
        address,
        Address::Tcp {
            scheme: Scheme::Https,
            ..
        }
    );
    is_tls.then(|| Tls::trusting(authorities)).transpose()
}

/// A text as a value of a query.
pub(crate) fn quoted(text: &str) -> String {
    use std::fmt::Write;

    text.bytes().fold(String::new(), |mut quoted, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
            quoted.push(byte.into());
        } else {
            // Writing to a text does not fail.
            let _ = write!(quoted, "%{byte:02X}");
        }
        quoted
    })
}

/// A body that is read from a file.
pub(crate) fn file(file: std::fs::File) -> Body {
    let file = tokio::fs::File::from_std(file);
    let chunks = ReaderStream::with_capacity(file, FILE_CHUNK).map_ok(Frame::data);
    StreamBody::new(chunks).boxed_unsync()
}

/// A body of these bytes.
pub(crate) fn full(body: Vec<u8>) -> Body {
    Full::new(Bytes::from(body))
        .map_err(|never| match never {})
        .boxed_unsync()
}
