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

/// Tells the replica whose call this is.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, peer: &HeaderValue, scheme: &'static str) {
    let chain = match headers.get(&FORWARDED_FOR) {
        None => peer.clone(),
        Some(_) => {
            let mut chain = tokens(headers, &FORWARDED_FOR)
                .collect::<Vec<_>>()
                .join(", ");
            chain.push_str(", ");
            chain.push_str(peer.to_str().unwrap_or("unknown"));
            HeaderValue::from_str(&chain).unwrap_or_else(|_| peer.clone())
        }
    };
    headers.insert(FORWARDED_FOR, chain);
    if !headers.contains_key(&FORWARDED_HOST)
        && let Some(host) = headers.get(header::HOST).cloned()
    {
        headers.insert(FORWARDED_HOST, host);
    }
    if !headers.contains_key(&FORWARDED_PROTO) {
        headers.insert(FORWARDED_PROTO, HeaderValue::from_static(scheme));
    }
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

    #[test]
    fn the_chain_of_proxies_grows_by_one() {
        let mut headers = map(&[("host", "a.example"), ("x-forwarded-for", "10.0.0.1")]);
        add_forwarded(
            &mut headers,
            &HeaderValue::from_static("127.0.0.1"),
            "https",
        );
        assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
        assert_eq!(headers["x-forwarded-host"], "a.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
    }
}
