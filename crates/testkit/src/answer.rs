use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// Longest wait for a whole answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Headers that hob or an ordinary handler may send. Any other one fails the test, so that none
/// slips in unnoticed.
const ALLOWED_HEADERS: &[&str] = &[
    "accept-ranges",
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-range",
    "content-type",
    "coord",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "docker-upload-uuid",
    "etag",
    "last-modified",
    "link",
    "location",
    "oci-filters-applied",
    "oci-subject",
    "range",
    "ratelimit",
    "ratelimit-policy",
    "retry-after",
    "server-timing",
    "transfer-encoding",
    "vary",
    "worker",
    "www-authenticate",
    "x-accel-buffering",
    "x-call-id",
    "x-content-type-options",
    "x-duration-seconds",
    "x-hob-end",
    "x-openfaas-internal",
    "x-start-time",
];

/// What came back for a request, whole.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, all of them allowed.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    ///
    /// # Panics
    /// When it is no UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is no JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a body in JSON")
    }

    /// A header as text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("a header in ASCII"))
    }

    /// Asserts the status and hands the answer on.
    ///
    /// # Panics
    /// When the status is another one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.describe());
        self
    }

    fn describe(&self) -> String {
        format!(
            "{} {:?}\n{}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}

/// Sends a request over a connection of its own; `None` when nobody answers there.
pub(crate) fn send(address: SocketAddr, request: Request<Bytes>) -> Option<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let exchange = async { timeout(ANSWER_TIMEOUT, exchange(address, request)).await };
    let answer = runtime.block_on(exchange).expect("an answer in time")?;
    check(&answer);
    Some(answer)
}

async fn exchange(address: SocketAddr, request: Request<Bytes>) -> Option<Answer> {
    let stream = TcpStream::connect(address).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .ok()?;
    tokio::spawn(connection);
    let mut request = request.map(Full::new);
    let host = HeaderValue::from_str(&address.to_string()).expect("an address in ASCII");
    request.headers_mut().entry(header::HOST).or_insert(host);
    let (head, body) = sender.send_request(request).await.ok()?.into_parts();
    Some(Answer {
        status: head.status,
        headers: head.headers,
        body: body.collect().await.ok()?.to_bytes(),
    })
}

fn check(answer: &Answer) {
    let unknown: Vec<&HeaderName> = answer
        .headers
        .keys()
        .filter(|name| !ALLOWED_HEADERS.contains(&name.as_str()))
        .collect();
    assert!(
        unknown.is_empty(),
        "unexpected headers {unknown:?} in {}",
        answer.describe()
    );
    let lengths = answer.headers.get_all(header::CONTENT_LENGTH);
    assert!(lengths.iter().count() <= 1, "{}", answer.describe());
}
