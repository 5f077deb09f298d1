use http::{HeaderMap, HeaderName, HeaderValue, Request, header, uri::Authority};
use http_body::Body;

/// Fields that speak of one connection only, for both directions.
pub(crate) static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// What hob says itself of the way that a call has come.
static FORWARDED: [HeaderName; 4] = [
    FORWARDED_FOR,
    FORWARDED_HOST,
    FORWARDED_PROTO,
    FORWARDED_PREFIX,
];

/// Removes what speaks of the connection that a message came by. `Trailer` stays: it describes
/// the message, and without it the trailers themselves would be lost.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    // Looked for in one pass: most messages have none, and a lookup each costs more.
    let mut found = 0_u32;
    for name in headers.keys() {
        for (bit, hop) in HOP_BY_HOP.iter().enumerate() {
            if name == hop {
                found |= 1 << bit;
            }
        }
    }
    if found & 1 != 0 {
        strip_named_by_connection(headers);
    }
    for (bit, hop) in HOP_BY_HOP.iter().enumerate() {
        if found & (1 << bit) != 0 {
            headers.remove(hop);
        }
    }
}

/// `Connection: close, x-secret` makes `x-secret` a field of this connection. Fields that frame
/// or address the message cannot be taken out that way.
fn strip_named_by_connection(headers: &mut HeaderMap) {
    let tokens: Vec<HeaderName> = tokens(headers, &header::CONNECTION)
        .filter_map(|token| token.parse().ok())
        .filter(|name| {
            ![
                header::HOST,
                header::CONTENT_LENGTH,
                header::CONNECTION,
                header::TE,
            ]
            .contains(name)
        })
        .collect();
    for name in tokens {
        headers.remove(name);
    }
}

/// The members of a comma-separated field.
pub(crate) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter();
    let texts = values.filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(',')).map(str::trim)
}

/// Removes what the replica must not see of a request's fields.
pub(crate) fn strip_request(headers: &mut HeaderMap) {
    strip_hop_by_hop(headers);
    // Answered on this side, when the body is first asked for.
    headers.remove(header::EXPECT);
    if let Some(te) = headers.remove(header::TE) {
        // The caller takes trailers; it must not ask the replica for codings that hob would
        // have to undo.
        if te
            .as_bytes()
            .split(|b| *b == b',')
            .any(|t| t.trim_ascii().eq_ignore_ascii_case(b"trailers"))
        {
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
}

/// Makes sure that the replica gets the one `Host` that HTTP/1.1 asks for, and cookies in one
/// line: HTTP/2 has the host elsewhere and may send each cookie by itself.
pub(crate) fn set_host(headers: &mut HeaderMap, authority: Option<&Authority>) {
    if !headers.contains_key(header::HOST) {
        let host = authority.and_then(|a| HeaderValue::from_str(a.as_str()).ok());
        headers.insert(
            header::HOST,
            host.unwrap_or(HeaderValue::from_static("localhost")),
        );
        join_cookies(headers);
    }
}

fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    if cookies.len() > 1 {
        let joined = cookies
            .iter()
            .map(|c| c.as_bytes())
            .collect::<Vec<_>>()
            .join(&b"; "[..]);
        if let Ok(joined) = HeaderValue::from_bytes(&joined) {
            headers.insert(header::COOKIE, joined);
        }
    }
}

/// Says how the body is framed where nothing else does, so that also the body of a GET passes.
/// A request never has both framings: `Transfer-Encoding` was removed with the hop's fields.
pub(crate) fn set_framing<B: Body>(request: &mut Request<B>) {
    let sized = request.headers().contains_key(header::CONTENT_LENGTH);
    if !sized && !request.body().is_end_stream() {
        let chunked = HeaderValue::from_static("chunked");
        request
            .headers_mut()
            .insert(header::TRANSFER_ENCODING, chunked);
    }
}

/// What functions are told of the way that a call has come.
#[derive(Clone, Copy)]
pub(crate) struct Told<'a> {
    /// Who is on the other end of the connection, as `X-Forwarded-For` has it.
    pub(crate) peer: &'a HeaderValue,
    /// How the caller asked.
    pub(crate) scheme: &'static str,
    /// Whether the request says itself by which host, scheme and prefix it was made.
    pub(crate) is_believed: bool,
}

/// Tells the replica whose call this is, and how it was made. `prefix` is what the function does
/// not see of the path.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, told: &Told<'_>, prefix: Option<&str>) {
    strip_disguised(headers);
    let mut chain = Vec::new();
    for list in headers.get_all(&FORWARDED_FOR) {
        chain.extend_from_slice(list.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain.extend_from_slice(told.peer.as_bytes());
    let chain = HeaderValue::from_bytes(&chain).unwrap_or_else(|_| told.peer.clone());
    headers.insert(FORWARDED_FOR, chain);
    if !told.is_believed {
        // Whoever says more than hob can know could have its functions make links to his own host.
        headers.remove(&FORWARDED_HOST);
        headers.remove(&FORWARDED_PROTO);
        headers.remove(&FORWARDED_PREFIX);
    }
    if !headers.contains_key(&FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
    if !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(told.scheme));
    }
    if let Some(prefix) = prefix {
        let mut whole = headers
            .get(&FORWARDED_PREFIX)
            .map_or_else(Vec::new, |outer| outer_prefix(outer.as_bytes()).to_vec());
        whole.extend_from_slice(prefix.as_bytes());
        if let Ok(whole) = HeaderValue::from_bytes(&whole) {
            headers.insert(FORWARDED_PREFIX, whole);
        }
    }
}

/// A prefix that a proxy has cut off, as another is put behind it.
pub(crate) fn outer_prefix(value: &[u8]) -> &[u8] {
    value.strip_suffix(b"/").unwrap_or(value)
}

/// Takes out all that says how a call was made.
pub(crate) fn strip_forwarded(headers: &mut HeaderMap) {
    strip_disguised(headers);
    for field in &FORWARDED {
        headers.remove(field);
    }
}

/// Takes out what programs take for the fields that hob writes itself.
fn strip_disguised(headers: &mut HeaderMap) {
    let found = headers.keys().filter(|name| is_disguised(name.as_str()));
    for name in found.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// Whether programs that make `_` of every `-` (RFC 3875) would take this for a field that says
/// how a call was made.
pub(crate) fn is_disguised(name: &str) -> bool {
    let same = |field: &HeaderName| {
        let mut both = name.bytes().zip(field.as_str().bytes());
        name.len() == field.as_str().len()
            && both
                .all(|(byte, own)| byte.eq_ignore_ascii_case(&own) || (byte, own) == (b'_', b'-'))
    };
    name.contains('_') && FORWARDED.iter().any(same)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = fields.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn a_connections_own_fields_do_not_pass() {
        let mut headers = map(&[
            ("connection", "close, X-Mine, content-length"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "x"),
            ("proxy-authorization", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "gzip, trailers"),
            ("expect", "100-continue"),
            ("trailer", "x-sum"),
            ("content-length", "3"),
            ("x-yours", "2"),
        ]);
        strip_request(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "te", "trailer", "x-yours"]);
        assert_eq!(headers["te"], "trailers");
    }

    fn told(is_believed: bool) -> Told<'static> {
        static PEER: HeaderValue = HeaderValue::from_static("127.0.0.1");
        Told {
            peer: &PEER,
            scheme: "http",
            is_believed,
        }
    }

    #[test]
    fn the_chain_of_proxies_grows_by_one() {
        let mut headers = map(&[("host", "a.example"), ("x-forwarded-for", "10.0.0.1")]);
        add_forwarded(&mut headers, &told(false), None);
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(headers["x-forwarded-host"], "a.example");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert!(!headers.contains_key("x-forwarded-prefix"));
    }

    #[test]
    fn only_proxies_are_believed() {
        let claims = [
            ("host", "a.example"),
            ("x-forwarded-host", "b.example"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/outer/"),
            ("x_forwarded-proto", "https"),
            ("x_forwarded_for", "10.0.0.1"),
        ];
        for (believed, expected) in [
            (false, ["a.example", "http", "/shop"]),
            (true, ["b.example", "https", "/outer/shop"]),
        ] {
            let mut headers = map(&claims);
            add_forwarded(&mut headers, &told(believed), Some("/shop"));
            let seen = ["host", "proto", "prefix"].map(|part| {
                headers[format!("x-forwarded-{part}")]
                    .to_str()
                    .unwrap()
                    .to_owned()
            });
            assert_eq!(seen, expected);
            assert!(headers.keys().all(|name| !name.as_str().contains('_')));
        }
    }
}
