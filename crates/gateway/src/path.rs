use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use hob_model::{Route, Routes};
use http::{HeaderMap, Uri, header, uri::PathAndQuery};

use crate::listen::PeerKind;

/// What paths of functions begin with.
const PREFIX: &str = "/function/";
/// What Kubernetes appends to the names of functions.
const CLUSTER: &str = ".svc.cluster.local";

/// The path of a call, cut where the function's own part begins.
#[derive(Debug, Clone)]
pub(crate) struct FunctionPath<'a> {
    pub(crate) whose: Whose<'a>,
    /// What stands before the function's own part: `/function/NAME`, the path of a domain, or
    /// nothing.
    base: &'a str,
    /// What the function gets: path and query, byte for byte. Its path may be empty.
    rest: &'a str,
}

/// Which function a call is for.
#[derive(Debug, Clone)]
pub(crate) enum Whose<'a> {
    /// `name` or `name.namespace`, as it stands in the URL.
    Named(&'a str),
    /// The one that the host leads to.
    Hosted(Arc<Route>),
}

/// Where a call goes, with its own copy of everything.
pub(crate) struct Address {
    /// What the replica gets.
    pub(crate) uri: Uri,
    /// As in [`FunctionPath`].
    pub(crate) base: Box<str>,
    /// Whether nothing, not even a `/`, follows the base.
    pub(crate) is_bare: bool,
    /// Whether the host names the function.
    is_hosted: bool,
}

/// The host that a request is for, as it was written.
pub(crate) fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> &'a [u8] {
    let field = || headers.get(header::HOST).map(|host| host.as_bytes());
    let authority = uri.authority().map(|authority| {
        let authority = authority.as_str().as_bytes();
        // A user name before `@` is not part of the host.
        authority.rsplit(|b| *b == b'@').next().unwrap_or_default()
    });
    authority.or_else(field).unwrap_or_default()
}

impl<'a> FunctionPath<'a> {
    /// Cuts a path with its query, of a request to `host` by such a peer. `None` when it belongs to
    /// no function, not even an unknown one.
    pub(crate) fn find(
        kind: PeerKind,
        host: &[u8],
        whole: &'a str,
        routes: &Routes,
    ) -> Option<Self> {
        match kind {
            PeerKind::Stranger => Self::by_domain(host, whole, routes),
            PeerKind::Function => {
                by_name(host, whole, routes).or_else(|| Self::by_domain(host, whole, routes))
            }
            // It names the function. The host is the one that its caller once spoke to.
            PeerKind::Inside => Self::cut(whole),
        }
    }

    fn by_domain(host: &[u8], whole: &'a str, routes: &Routes) -> Option<Self> {
        let Some((route, length)) = routes.by_domain(host, whole) else {
            return Self::cut(whole);
        };
        let (base, rest) = whole.split_at(length);
        Some(Self {
            whose: Whose::Hosted(route),
            base,
            rest,
        })
    }

    /// The same, whatever the host.
    fn cut(whole: &'a str) -> Option<Self> {
        let after = whole.strip_prefix(PREFIX)?;
        let end = after.find(['/', '?']).unwrap_or(after.len());
        let (base, rest) = whole.split_at(PREFIX.len() + end);
        Some(Self {
            whose: Whose::Named(&after[..end]),
            base,
            rest,
        })
    }

    /// The route of its function, if there is one.
    pub(crate) fn route(&self, routes: &Routes) -> Option<Arc<Route>> {
        match &self.whose {
            Whose::Named(name) => routes.find(name),
            Whose::Hosted(route) => Some(Arc::clone(route)),
        }
    }

    /// The address that the replica gets.
    pub(crate) fn forwarded(&self) -> Result<Address, http::uri::InvalidUri> {
        let mut bytes = BytesMut::with_capacity(self.rest.len() + 1);
        self.put_forwarded(&mut bytes);
        Ok(Address {
            uri: PathAndQuery::from_maybe_shared(bytes.freeze()).map(Uri::from)?,
            base: self.base.into(),
            is_bare: !self.rest.starts_with('/'),
            is_hosted: matches!(self.whose, Whose::Hosted(_)),
        })
    }

    /// Writes the address that the replica gets.
    pub(crate) fn put_forwarded(&self, bytes: &mut impl BufMut) {
        if !self.rest.starts_with('/') {
            bytes.put_u8(b'/');
        }
        bytes.put_slice(self.rest.as_bytes());
    }

    /// The path of the domain by which the function was found, if it has one: the function cannot
    /// know it.
    pub(crate) fn prefix(&self) -> Option<&'a str> {
        let is_hosted = matches!(self.whose, Whose::Hosted(_));
        (is_hosted && !self.base.is_empty()).then_some(self.base)
    }

    /// What stands before the function's own part.
    pub(crate) fn base(&self) -> &'a str {
        self.base
    }

    /// The query, if there is one.
    pub(crate) fn query(&self) -> Option<&'a str> {
        self.rest.split_once('?').map(|(_, query)| query)
    }

    /// The function's own path, without the query. Begins with `/`, or is empty.
    pub(crate) fn own(&self) -> &'a str {
        self.rest.split('?').next().unwrap_or_default()
    }
}

impl Address {
    /// As [`FunctionPath::prefix`] has it.
    pub(crate) fn prefix(&self) -> Option<&str> {
        (self.is_hosted && !self.base.is_empty()).then_some(&*self.base)
    }
}

/// A call that names its function by the host, `http://NAME.NAMESPACE:8080/…`, as functions of
/// Kubernetes call each other. `None` when the host is no function's name, or the path says already
/// which function is meant.
fn by_name<'a>(host: &[u8], whole: &'a str, routes: &Routes) -> Option<FunctionPath<'a>> {
    if whole.starts_with(PREFIX) || !whole.starts_with(['/', '?']) {
        return None;
    }
    let name = str::from_utf8(host).ok()?.split(':').next()?;
    let name = name.strip_suffix(CLUSTER).unwrap_or(name);
    // Short names are the gateway's and the machine's.
    let route = name.contains('.').then(|| routes.find(name)).flatten()?;
    Some(FunctionPath {
        whose: Whose::Hosted(route),
        base: "",
        rest: whole,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn cut(path: &str) -> Option<(String, String)> {
        let uri: Uri = path.parse().unwrap();
        let path = FunctionPath::cut(uri.path_and_query()?.as_str())?;
        let Whose::Named(name) = path.whose else {
            return None;
        };
        let address = path.forwarded().unwrap();
        assert_eq!(*address.base, *format!("/function/{name}"));
        Some((name.into(), address.uri.to_string()))
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

    #[test]
    fn functions_know_each_other_by_name_before_any_domain() {
        let routes = Routes::default();
        for (name, domain) in [("shop.staging", "a.example"), ("other", "shop.staging")] {
            routes.set(Route {
                function: name.parse().unwrap(),
                domains: vec![domain.parse().unwrap()],
                track: hob_model::Track::Stable,
                revision: "1".into(),
                timeout: hob_model::Timespan::from_secs(1),
                body_limit: 1,
                output_limit: 1,
                cors: None,
                guard: None,
                target: hob_model::Target::Replicas(Arc::default()),
                counters: Arc::default(),
                canary: None,
            });
        }
        let found = |kind, host: &str, whole: &str| {
            let path = FunctionPath::find(kind, host.as_bytes(), whole, &routes)?;
            let route = path.route(&routes)?;
            Some(format!("{} {}", route.function, path.own()))
        };
        for (kind, host, whole, expected) in [
            (
                PeerKind::Function,
                "shop.staging:8080",
                "/a",
                "shop.staging /a",
            ),
            (
                PeerKind::Function,
                "shop.staging.svc.cluster.local",
                "/a",
                "shop.staging /a",
            ),
            (
                PeerKind::Function,
                "shop.staging",
                "/function/other/a",
                "other /function/other/a",
            ),
            (PeerKind::Function, "a.example", "/a", "shop.staging /a"),
            (
                PeerKind::Function,
                "gateway.openfaas:8080",
                "/function/other/a",
                "other /a",
            ),
            (PeerKind::Stranger, "shop.staging", "/a", "other /a"),
            (
                PeerKind::Stranger,
                "shop.staging.svc.cluster.local",
                "/a",
                "",
            ),
            (
                PeerKind::Inside,
                "a.example",
                "/function/other/a",
                "other /a",
            ),
            (PeerKind::Inside, "a.example", "/a", ""),
        ] {
            let found = found(kind, host, whole).unwrap_or_default();
            assert_eq!(found, expected, "{kind:?} {host}{whole}");
        }
        assert_eq!(found(PeerKind::Function, "shop.staging", "*"), None);
    }
}
