//! Tells somebody of the answer of a call: `X-Callback-Url`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use hob_model::{EndReason, FunctionName, port::Dial};
use hob_store::CallbackToMake;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use reqwest::{Client, redirect::Policy};
use tokio::sync::OnceCell;

use super::inside;
use crate::control::on_disk;

/// Longest time in which one must have answered.
pub(super) const CALLBACK_LIMIT: Duration = Duration::from_secs(30);
/// Longest time to connect to one.
const CONNECT: Duration = Duration::from_secs(10);
/// Names under which OpenFaaS's functions know their gateway, with its port. Such a call stays in
/// this process.
const GATEWAYS: [&str; 3] = [
    "gateway:8080",
    "gateway.openfaas:8080",
    "gateway.openfaas.svc.cluster.local:8080",
];
/// Of the function's own fields those that say who a request is from, and to whom: they are not
/// for the function to set on a request of hob's.
const NOT_PASSED_ON: [&str; 6] = [
    "authorization",
    "cookie",
    "forwarded",
    "host",
    "x-callback-url",
    "x-real-ip",
];
/// Tells the data plane that somebody else has chosen whom this process calls: the function's guards
/// are asked.
const CALLBACK: &str = "x-hob-callback";
/// What the fields begin with that only hob may set, also as programs see it that make `_` of `-`.
const OWN: &str = "x-hob-";
const AGENT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// Why a callback did not get through.
#[derive(Debug)]
pub(super) struct Refused {
    /// In words.
    pub(super) problem: String,
    /// Whether another try may help.
    pub(super) again: bool,
}

/// Sends answers to those who asked for them.
pub(super) struct Messenger {
    dial: Arc<dyn Dial>,
    /// Made when it is first needed: it reads the system's certificates.
    client: OnceCell<Client>,
}

impl Messenger {
    pub(super) fn new(dial: Arc<dyn Dial>) -> Self {
        Self {
            dial,
            client: OnceCell::new(),
        }
    }

    /// Tells of an answer, once; `limit` is for those who are reached without a network.
    pub(super) async fn tell(
        &self,
        function: &FunctionName,
        call: CallbackToMake,
        most_attempts: u32,
        limit: Duration,
    ) -> Result<(), Refused> {
        let uri: Uri = call
            .url
            .parse()
            .map_err(|_| hopeless("its URL is invalid"))?;
        let headers = fields(function, &call, most_attempts);
        let status = match inside_path(&uri) {
            Some(path) => {
                self.by_inner_door(path, headers, call.result, limit)
                    .await?
            }
            None => self.by_network(&call.url, headers, call.result).await?,
        };
        if status.is_success() {
            return Ok(());
        }
        Err(Refused {
            problem: format!("it answered {status}"),
            again: status.is_server_error()
                || [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS].contains(&status),
        })
    }

    async fn by_inner_door(
        &self,
        path: &str,
        headers: HeaderMap,
        body: Vec<u8>,
        limit: Duration,
    ) -> Result<StatusCode, Refused> {
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|_| hopeless("its URL is invalid"))?;
        *request.headers_mut() = headers;
        let host = HeaderValue::from_static(GATEWAYS[1]);
        request.headers_mut().insert(header::HOST, host);
        let callback = HeaderValue::from_static("1");
        request.headers_mut().insert(CALLBACK, callback);
        let reply = inside::exchange(&self.dial, request, 0, limit).await;
        reply.map(|reply| reply.status).map_err(unreached)
    }

    async fn by_network(
        &self,
        url: &str,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<StatusCode, Refused> {
        let client = self.client.get_or_try_init(|| on_disk(client)).await;
        let client = client.map_err(|error| unreached(chain(&error)))?;
        let answer = client.post(url).headers(headers).body(body).send().await;
        match answer {
            Ok(answer) => Ok(answer.status()),
            Err(error) => Err(unreached(chain(&error.without_url()))),
        }
    }
}

/// Whether a callback may go to `url`.
///
/// # Errors
/// One line with the cure.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let parsed: Option<reqwest::Url> = url.parse().ok();
    let good =
        parsed.is_some_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if good && url.parse::<Uri>().is_ok() {
        return Ok(());
    }
    Err("X-Callback-Url is no URL: write http://HOST/PATH or https://HOST/PATH".into())
}

fn client() -> reqwest::Result<Client> {
    Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(CALLBACK_LIMIT)
        .user_agent(AGENT)
        .build()
}

/// The function of this very hob that a callback calls, if it calls one.
pub(super) fn function_called_back(url: &str) -> Option<FunctionName> {
    let uri: Uri = url.parse().ok()?;
    let rest = inside_path(&uri)?.strip_prefix("/function/")?;
    rest.split(['/', '?']).next()?.parse().ok()
}

/// The path with its query, where the URL is that of this very gateway.
fn inside_path(uri: &Uri) -> Option<&str> {
    let plain = uri.scheme_str() == Some("http");
    let host = uri.authority()?.as_str();
    let path = uri.path_and_query()?.as_str();
    (plain && GATEWAYS.contains(&host)).then_some(path)
}

/// The function's own fields, and under OpenFaaS's names what became of the call.
fn fields(function: &FunctionName, call: &CallbackToMake, most_attempts: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let passed = |name: &str| {
        !NOT_PASSED_ON.contains(&name)
            && !name.starts_with("x-forwarded-")
            && !name.replace('_', "-").starts_with(OWN)
    };
    for (name, value) in call.answer.iter().filter(|(name, _)| passed(name)) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of one call")]
    let seconds = call.millis as f64 / 1000.0;
    let status = call
        .status
        .unwrap_or(StatusCode::SERVICE_UNAVAILABLE.as_u16());
    for (name, value) in [
        ("x-call-id", call.id.clone()),
        ("x-function-name", function.to_string()),
        ("x-function-status", status.to_string()),
        ("x-duration-seconds", format!("{seconds:.3}")),
        ("x-retry", call.attempts.saturating_sub(1).to_string()),
        ("x-retry-max", most_attempts.to_string()),
        ("x-hob-end", call.end.clone()),
        ("user-agent", AGENT.to_owned()),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if call.end == EndReason::Ok.as_str() {
        headers.remove("x-hob-end");
    }
    headers
}

fn hopeless(problem: &str) -> Refused {
    Refused {
        problem: problem.to_owned(),
        again: false,
    }
}

fn unreached(problem: String) -> Refused {
    Refused {
        problem,
        again: true,
    }
}

/// The whole chain: the last link has the cause.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_web_are_taken() {
        for url in [
            "http://127.0.0.1:1234/x?y=z",
            "https://example.net",
            "http://gateway.openfaas:8080/function/next",
        ] {
            check_url(url).expect(url);
        }
        for url in [
            "",
            "example.net/x",
            "ftp://example.net",
            "http://",
            "file:///etc/passwd",
        ] {
            check_url(url).expect_err(url);
        }
    }

    #[test]
    fn the_gateways_own_names_stay_inside() {
        let inside = |url: &str| inside_path(&url.parse().expect("valid")).map(str::to_owned);
        let path = inside("http://gateway.openfaas:8080/function/next?a=b");
        assert_eq!(path.as_deref(), Some("/function/next?a=b"));
        assert_eq!(inside("http://gateway:8080").as_deref(), Some("/"));
        assert_eq!(inside("https://gateway:8080/"), None);
        assert_eq!(inside("http://gateway.example:8080/"), None);
    }
}
