use std::{
    array,
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;

use super::{Route, SHARDS};
use crate::{Domain, FunctionName};

/// Longest name of a host, in bytes (RFC 1035).
const HOST_MAX: usize = 253;
/// What functions call the gateway by, on every machine.
const GATEWAY: &str = "gateway.openfaas";
/// The ending of names that mean something inside a cluster only.
const CLUSTER: &str = ".svc.cluster.local";

/// Which functions the names of hosts lead to. Read without a lock; written by one at a time, who
/// holds the lock of the routes.
#[derive(Debug)]
pub(super) struct Domains {
    shards: [ArcSwap<Table>; SHARDS],
    /// How many hosts there are. Where there are none, a reader looks at nothing else.
    hosts: AtomicUsize,
    /// What the server itself is called, in lower case.
    own: OnceLock<BTreeSet<Box<str>>>,
    hasher: RandomState,
}

/// By name of the host, in lower case.
type Table = HashMap<Box<str>, Vec<Place>>;

/// What the paths of one host begin with that are a function's.
#[derive(Debug, Clone)]
struct Place {
    /// As [`Domain::path`] has it.
    path: Box<str>,
    route: Arc<Route>,
}

impl Default for Domains {
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| ArcSwap::default()),
            hosts: AtomicUsize::new(0),
            own: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Domains {
    /// The route that `path` of `host` leads to, and the length of what it begins with.
    pub(super) fn find(&self, host: &[u8], path: &str) -> Option<(Arc<Route>, usize)> {
        if self.hosts.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut room = [0; HOST_MAX];
        let host = plain(host, &mut room)?;
        let table = self.shard(host).load();
        // The longest stands first.
        let mut places = table.get(host)?.iter();
        let place = places.find(|place| covers(&place.path, path))?;
        Some((Arc::clone(&place.route), place.path.len()))
    }

    pub(super) fn keep_back(&self, own: BTreeSet<Box<str>>) {
        // The first word is the last.
        let _ = self.own.set(own);
    }

    pub(super) fn is_own(&self, host: &str) -> bool {
        let configured = self.own.get().is_some_and(|own| own.contains(host));
        configured || host == GATEWAY || host.ends_with(CLUSTER)
    }

    /// Puts the domains of `next` in place of those of `former`, the route that the same function
    /// had. What is another function's stays that one's.
    pub(super) fn change(&self, former: Option<&Route>, next: Option<&Arc<Route>>) {
        let of_former = former.map_or(&[][..], |former| &former.domains);
        let of_next = next.map_or(&[][..], |next| &next.domains);
        let both = of_former.iter().chain(of_next);
        let hosts: BTreeSet<&str> = both.map(Domain::host).collect();
        let Some(function) = former.or(next.map(|next| &**next)) else {
            return;
        };
        for host in hosts.into_iter().filter(|host| !self.is_own(host)) {
            self.change_host(host, &function.function, next);
        }
    }

    fn change_host(&self, host: &str, function: &FunctionName, next: Option<&Arc<Route>>) {
        let shard = self.shard(host);
        let mut table = Table::clone(&shard.load());
        let (key, mut places) = table
            .remove_entry(host)
            .unwrap_or_else(|| (host.into(), Vec::new()));
        let was_here = !places.is_empty();
        places.retain(|place| place.route.function != *function);
        if let Some(route) = next {
            for domain in route.domains.iter().filter(|one| one.host() == host) {
                if !places.iter().any(|place| &*place.path == domain.path()) {
                    places.push(Place {
                        path: domain.path().into(),
                        route: Arc::clone(route),
                    });
                }
            }
        }
        places.sort_by_key(|place| std::cmp::Reverse(place.path.len()));
        let is_here = !places.is_empty();
        if is_here {
            table.insert(key, places);
        }
        shard.store(Arc::new(table));
        match (was_here, is_here) {
            (false, true) => self.hosts.fetch_add(1, Ordering::AcqRel),
            (true, false) => self.hosts.fetch_sub(1, Ordering::AcqRel),
            _ => 0,
        };
    }

    fn shard(&self, host: &str) -> &ArcSwap<Table> {
        &self.shards[self.hasher.hash_one(host) as usize % SHARDS]
    }
}

/// The name of a host as [`Domain::host`] has it: without port and last dot, in lower case. `None`
/// for what is no name.
fn plain<'r>(host: &[u8], room: &'r mut [u8; HOST_MAX]) -> Option<&'r str> {
    let name = host.split(|byte| *byte == b':').next()?;
    let name = name.strip_suffix(b".").unwrap_or(name);
    let room = room.get_mut(..name.len())?;
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    str::from_utf8(room).ok()
}

/// Whether `path`, perhaps with a query, is `start` or something beneath it.
fn covers(start: &str, path: &str) -> bool {
    let rest = path.strip_prefix(start);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

#[cfg(test)]
mod tests {
    use super::super::{Routes, tests::route};

    fn with(routes: &Routes, name: &str, domains: &[&str]) {
        routes.set(super::Route {
            domains: domains.iter().map(|d| d.parse().expect("valid")).collect(),
            ..route(name)
        });
    }

    /// `NAME REST`, or nothing.
    fn found(routes: &Routes, url: &str) -> String {
        let (host, path) = url.split_at(url.find(['/', '*', '?']).unwrap_or(url.len()));
        match routes.by_domain(host.as_bytes(), path) {
            Some((route, length)) => format!("{} {}", route.function, &path[length..]),
            None => String::new(),
        }
    }

    #[test]
    fn the_longest_beginning_of_a_path_wins() {
        let routes = Routes::default();
        with(&routes, "home", &["example.net"]);
        with(&routes, "shop", &["example.net/shop", "shop.example.net"]);
        with(&routes, "cart", &["example.net/shop/cart"]);
        with(&routes, "api", &["api.example.net/v1"]);
        for (url, expected) in [
            ("example.net/", "home /"),
            ("example.net", "home "),
            ("example.net?a=/shop", "home ?a=/shop"),
            (
                "EXAMPLE.Net:8080/system/functions",
                "home /system/functions",
            ),
            ("example.net./function/shop", "home /function/shop"),
            ("example.net.:80/x", "home /x"),
            ("example.net/shop", "shop "),
            ("example.net/shop?a", "shop ?a"),
            ("example.net/shop/a?b", "shop /a?b"),
            ("example.net/shopping", "home /shopping"),
            ("example.net/Shop", "home /Shop"),
            ("example.net/%73hop", "home /%73hop"),
            ("example.net/shop/cart/", "cart /"),
            ("example.net/shop/carts", "shop /carts"),
            ("shop.example.net/shop", "shop /shop"),
            ("api.example.net/v1/a", "api /a"),
            ("api.example.net/system/functions", ""),
            ("api.example.net/", ""),
            ("example.net*", ""),
            ("www.example.net/", ""),
            ("example.net..//", ""),
            ("[::1]:8080/", ""),
            ("/", ""),
            (&format!("{}.net/", "a".repeat(300)), ""),
        ] {
            assert_eq!(found(&routes, url), expected, "{url}");
        }
    }

    #[test]
    fn the_servers_own_hosts_lead_to_no_function() {
        let routes = Routes::default();
        routes.keep_back(["Box.example.net", "*.example.net", "::1"]);
        let own = [
            "box.example.net",
            "gateway.openfaas",
            "a.b.svc.cluster.local",
        ];
        let paths = own.map(|host| format!("{host}/system"));
        let paths = paths.each_ref().map(String::as_str);
        let mine = "mine.example.net";
        with(&routes, "a", &[&own[..], &paths, &[mine]].concat());
        for host in own {
            assert!(routes.is_own_host(host), "{host}");
            assert_eq!(found(&routes, &format!("{host}/system/functions")), "");
        }
        assert!(!routes.is_own_host(mine));
        assert_eq!(found(&routes, "mine.example.net/x"), "a /x");
        assert_eq!(routes.hosts(), [mine.into()].into());
        routes.remove(&"a".parse().expect("valid"));
        assert_eq!(routes.domains.hosts.load(super::Ordering::Relaxed), 0);
    }

    #[test]
    fn domains_come_and_go_with_their_function() {
        let routes = Routes::default();
        with(&routes, "a", &["example.net", "example.net/a"]);
        assert_eq!(found(&routes, "example.net/a/b"), "a /b");
        // Another function cannot take what one has.
        with(&routes, "b", &["example.net", "example.net/b"]);
        assert_eq!(found(&routes, "example.net/x"), "a /x");
        assert_eq!(found(&routes, "example.net/b/x"), "b /x");
        with(&routes, "a", &["other.example.net"]);
        assert_eq!(found(&routes, "example.net/a/b"), "");
        assert_eq!(found(&routes, "other.example.net/x"), "a /x");
        // Its other changes take the new route along.
        let name = "a".parse().expect("valid");
        routes.set_canary(&name, None);
        let (route, _) = routes.by_domain(b"other.example.net", "/").expect("a's");
        assert!(super::Arc::ptr_eq(&route, &routes.get(&name).expect("a")));
        routes.remove(&name);
        routes.remove(&"b".parse().expect("valid"));
        assert_eq!(found(&routes, "other.example.net/x"), "");
        assert_eq!(routes.domains.hosts.load(super::Ordering::Relaxed), 0);
    }
}
