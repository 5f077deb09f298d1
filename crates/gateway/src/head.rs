use http::{Method, Request, Version, header, uri::Authority};

use crate::{client::Client, error::GatewayError, headers::tokens};

/// Refuses heads that two readers could understand differently: whatever is forwarded must mean
/// to the replica what it meant here. hyper has already refused broken lines, differing lengths
/// and codings that do not end in `chunked`.
pub(crate) fn check<B>(request: &Request<B>, client: &Client) -> Result<(), GatewayError> {
    let refuse = |why| Err(GatewayError::BadRequest(why));
    let headers = request.headers();
    if request.method() == Method::CONNECT {
        return refuse("CONNECT is not served here");
    }
    if headers.contains_key(header::TRANSFER_ENCODING) {
        // hyper has dropped the length by now; the bytes as they came still know.
        if client.saw_length_in_head() {
            return refuse("the request has both Content-Length and Transfer-Encoding");
        }
        let mut codings = tokens(headers, &header::TRANSFER_ENCODING);
        let chunked = codings
            .next()
            .is_some_and(|c| c.eq_ignore_ascii_case("chunked"));
        if !chunked || codings.next().is_some() {
            return refuse("the request has a Transfer-Encoding other than `chunked`");
        }
    }
    let mut hosts = headers.get_all(header::HOST).into_iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return refuse("the request has more than one Host");
    }
    match (request.uri().authority(), host) {
        (None, None) if request.version() == Version::HTTP_11 => refuse("the request has no Host"),
        (Some(authority), Some(host)) if !same(authority, host.as_bytes()) => {
            refuse("the request names one host in its address and another in Host")
        }
        _ => Ok(()),
    }
}

fn same(authority: &Authority, host: &[u8]) -> bool {
    // A user name before `@` is not part of the host.
    let authority = authority.as_str();
    let authority = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    authority.as_bytes().eq_ignore_ascii_case(host)
}
