use bytes::{BufMut, BytesMut};
use hob_model::Routes;
use http::{HeaderMap, Uri, header, uri::PathAndQuery};

/// What paths of functions begin with.
pub(crate) const PREFIX: &str = "/function/";
/// What Kubernetes appends to the names of functions.
const CLUSTER: &str = ".svc.cluster.local";

/// The path of a call, cut where the function's own part begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FunctionPath<'a> {
    /// `name` or `name.namespace`, as it stands in the URL.
    pub(crate) name: &'a str,
    /// What the function gets: path and query, byte for byte. Its path may be empty.
    rest: &'a str,
}

impl<'a> FunctionPath<'a> {
    /// `None` when the path belongs to no function, not even an unknown one.
    pub(crate) fn parse(uri: &'a Uri) -> Option<Self> {
        Self::cut(uri.path_and_query()?.as_str())
    }

    /// The same for a path with its query.
    pub(crate) fn cut(whole: &'a str) -> Option<Self> {
        let whole = whole.strip_prefix(PREFIX)?;
        let end = whole.find(['/', '?']).unwrap_or(whole.len());
        let (name, rest) = whole.split_at(end);
        Some(Self { name, rest })
    }

    /// The address that the replica gets.
    pub(crate) fn forwarded(&self) -> Result<Uri, http::uri::InvalidUri> {
        let mut bytes = BytesMut::with_capacity(self.rest.len() + 1);
        self.put_forwarded(&mut bytes);
        PathAndQuery::from_maybe_shared(bytes.freeze()).map(Uri::from)
    }

    /// Writes the address that the replica gets.
    pub(crate) fn put_forwarded(&self, bytes: &mut impl BufMut) {
        if !self.rest.starts_with('/') {
            bytes.put_u8(b'/');
        }
        bytes.put_slice(self.rest.as_bytes());
    }

    /// Whether nothing, not even a `/`, follows the name.
    pub(crate) fn is_bare(&self) -> bool {
        !self.rest.starts_with('/')
    }

    /// The function's own path, without the query. Begins with `/`, or is empty.
    pub(crate) fn own(&self) -> &'a str {
        self.rest.split('?').next().unwrap_or_default()
    }

    /// The query, with its `?`, or nothing.
    pub(crate) fn query(&self) -> &'a str {
        self.rest.find('?').map_or("", |at| &self.rest[at..])
    }
}

/// The address of a call that names its function by the host, `http://NAME.NAMESPACE:8080/…`, as
/// functions of Kubernetes call each other. `None` when the host is no function's name, or the
/// path says already which function is meant.
pub(crate) fn by_host(uri: &Uri, headers: &HeaderMap, routes: &Routes) -> Option<Uri> {
    let whole = uri.path_and_query()?.as_str();
    if whole.starts_with(PREFIX) {
        return None;
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = uri
        .authority()
        .map(|authority| authority.as_str())
        .or(host)?;
    let name = host.split(':').next()?;
    let name = name.strip_suffix(CLUSTER).unwrap_or(name);
    // Short names are the gateway's and the machine's.
    if !name.contains('.') || routes.find(name).is_none() {
        return None;
    }
    format!("{PREFIX}{name}{whole}").parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cut(path: &str) -> Option<(String, String)> {
        let uri: Uri = path.parse().unwrap();
        let path = FunctionPath::parse(&uri)?;
        Some((path.name.into(), path.forwarded().unwrap().to_string()))
    }

    #[test]
    fn the_rest_is_forwarded_byte_for_byte() {
        let cases = [
            ("/function/hello", "hello", "/"),
            ("/function/hello/", "hello", "/"),
            ("/function/hello?a=/b?c", "hello", "/?a=/b?c"),
            (
                "/function/hello.ns/a/../b//c/%2e%2E/.?q=%20",
                "hello.ns",
                "/a/../b//c/%2e%2E/.?q=%20",
            ),
            ("/function/", "", "/"),
            ("/function//x", "", "/x"),
            ("http://host/function/hello/x", "hello", "/x"),
        ];
        for (path, name, rest) in cases {
            assert_eq!(cut(path), Some((name.into(), rest.into())), "{path}");
        }
        for path in ["/", "/function", "/functions/hello", "/ui/function/x", "*"] {
            assert_eq!(cut(path), None, "{path}");
        }
    }
}
