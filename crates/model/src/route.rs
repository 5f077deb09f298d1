mod domains;

use std::{
    array,
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use arc_swap::ArcSwap;

use self::domains::Domains;
use crate::{
    Cors, Counters, DEFAULT_NAMESPACE, Domain, FleetName, FunctionName, Guard, Refusals,
    ReplicaSet, Share, Timespan, Track,
};

/// Everything the data plane has to know of one function.
#[derive(Debug, Clone)]
pub struct Route {
    /// Whose calls these are.
    pub function: FunctionName,
    /// Which of the function's revisions this leads to.
    pub track: Track,
    /// Digest of the revision that answers.
    pub revision: String,
    /// Longest time from a call's arrival to the end of its answer.
    pub timeout: Timespan,
    /// Largest request body, in bytes.
    pub body_limit: u64,
    /// Largest body of an answer, in bytes.
    pub output_limit: u64,
    /// Web origins whose pages may call it.
    pub cors: Option<Cors>,
    /// What stands before its calls; `None` where nothing does.
    pub guard: Option<Arc<Guard>>,
    /// Host names whose requests are the function's. Those of a canary's own route count for nothing,
    /// nor do those that another function had first, or that are the server's own.
    pub domains: Vec<Domain>,
    /// Who answers.
    pub target: Target,
    /// Calls so far. Shared by all revisions of the function; a canary has its own besides, which
    /// count in the function's as well.
    pub counters: Arc<Counters>,
    /// Where a share of the calls goes. Never that of a canary's own route.
    pub canary: Option<Arc<CanaryRoute>>,
}

/// The way to a canary.
#[derive(Debug, Clone)]
pub struct CanaryRoute {
    /// How many of the function's calls it gets.
    pub share: Share,
    /// Who answers them.
    pub route: Arc<Route>,
}

/// Who answers the calls of a route.
#[derive(Debug, Clone)]
pub enum Target {
    /// Replicas, perhaps none at the moment. Shared by all revisions of the function.
    Replicas(Arc<ReplicaSet>),
    /// A folder of files on the host.
    Static(PathBuf),
}

/// Parts of the route table. A change copies one part, so that it stays cheap with 10,000
/// functions and starting with so many is not quadratic.
const SHARDS: usize = 64;

type Shard = ArcSwap<HashMap<Box<str>, Arc<Route>>>;

/// The route table: read by the gateway on every call, written by the engine.
/// A reader never waits for a writer.
#[derive(Debug)]
pub struct Routes {
    shards: [Shard; SHARDS],
    domains: Domains,
    /// Held by who changes a route, since that depends on what it was.
    changes: Mutex<()>,
    hasher: RandomState,
    refusals: Refusals,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| Shard::default()),
            domains: Domains::default(),
            changes: Mutex::default(),
            hasher: RandomState::new(),
            refusals: Refusals::default(),
        }
    }
}

impl Route {
    /// The route of one call: where its canary has a share, `draw` gives a number drawn from all.
    pub fn choose(self: Arc<Self>, draw: impl FnOnce() -> u64) -> Arc<Self> {
        match &self.canary {
            None => self,
            Some(canary) if canary.share.takes(draw()) => Arc::clone(&canary.route),
            Some(_) => self,
        }
    }

    /// Whose replicas answer.
    pub fn fleet(&self) -> FleetName {
        FleetName {
            function: self.function.clone(),
            track: self.track,
        }
    }

    /// Whether calls still go by `route`: it is this one, or that of its canary.
    pub fn leads_to(self: &Arc<Self>, route: &Arc<Self>) -> bool {
        let canary = self.canary.as_ref().map(|canary| &canary.route);
        Arc::ptr_eq(self, route) || canary.is_some_and(|canary| Arc::ptr_eq(canary, route))
    }
}

impl Routes {
    /// Finds by `name` (default namespace) or `name.namespace`, as it stands in a URL.
    pub fn find(&self, name: &str) -> Option<Arc<Route>> {
        self.shard(name).load().get(name).cloned()
    }

    /// The route that a request is for by its host, as it stands in `Host`, and by its path, perhaps
    /// with a query; and how many bytes of the path belong to the domain. The longest domain wins.
    pub fn by_domain(&self, host: &[u8], path: &str) -> Option<(Arc<Route>, usize)> {
        self.domains.find(host, path)
    }

    /// Says what the server itself is called, before there is any route: no function gets these
    /// hosts, since whoever had one would be told the passwords that are meant for the server.
    pub fn keep_back<'h>(&self, hosts: impl IntoIterator<Item = &'h str>) {
        let hosts = hosts.into_iter();
        let hosts = hosts.map(|host| host.to_ascii_lowercase().into());
        self.domains.keep_back(hosts.collect());
    }

    /// Whether `host`, in lower case, is the server's own, or a name that functions know it or each
    /// other by.
    pub fn is_own_host(&self, host: &str) -> bool {
        self.domains.is_own(host)
    }

    /// The route of `function`.
    pub fn get(&self, function: &FunctionName) -> Option<Arc<Route>> {
        self.find(&function.qualified())
    }

    /// The route that leads to the replicas of `fleet`.
    pub fn of(&self, fleet: &FleetName) -> Option<Arc<Route>> {
        let route = self.get(&fleet.function)?;
        match fleet.track {
            Track::Stable => Some(route),
            Track::Canary => Some(Arc::clone(&route.canary.as_ref()?.route)),
        }
    }

    /// Calls of all functions that were not let in, counted by the gateway.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Every route, each once, those of canaries too.
    pub fn all(&self) -> Vec<Arc<Route>> {
        let tables = self.shards.iter().map(ArcSwap::load);
        let qualified = |table: &HashMap<Box<str>, Arc<Route>>| -> Vec<_> {
            let keys = table.iter().filter(|(key, _)| key.contains('.'));
            let routes = keys.map(|(_, route)| route);
            let both = |route: &Arc<Route>| {
                let canary = route
                    .canary
                    .as_ref()
                    .map(|canary| Arc::clone(&canary.route));
                [Some(Arc::clone(route)), canary]
            };
            routes.flat_map(both).flatten().collect()
        };
        tables.flat_map(|table| qualified(&table)).collect()
    }

    /// The routes with replicas that take calls now, those of canaries too, each once: none of
    /// functions that sleep. Cheap, however many do.
    pub fn awake(&self) -> Vec<(Arc<Route>, Arc<ReplicaSet>)> {
        let mut awake = Vec::new();
        let mut look = |route: &Arc<Route>| {
            if let Target::Replicas(replicas) = &route.target
                && replicas.is_awake()
            {
                awake.push((Arc::clone(route), Arc::clone(replicas)));
            }
        };
        for shard in &self.shards {
            for (key, route) in shard.load().iter() {
                if key.contains('.') {
                    look(route);
                    route.canary.iter().for_each(|canary| look(&canary.route));
                }
            }
        }
        awake
    }

    /// The host names of all domains, but for the server's own. Cheap, however many functions have
    /// none.
    pub fn hosts(&self) -> BTreeSet<Box<str>> {
        let mut hosts: BTreeSet<Box<str>> = BTreeSet::new();
        for shard in &self.shards {
            for route in shard.load().values() {
                hosts.extend(route.domains.iter().map(|domain| domain.host().into()));
            }
        }
        hosts.retain(|host| !self.is_own_host(host));
        hosts
    }

    /// Adds a route, or puts it in place of the one that its function had, and of its canary's.
    pub fn set(&self, route: Route) {
        let _change = self.changes();
        self.put(&Arc::new(route));
    }

    /// Gives a share of the calls of a function to a canary, or all of them back to the one that
    /// the function's own route leads to. Nothing if there is no such function.
    pub fn set_canary(&self, function: &FunctionName, canary: Option<CanaryRoute>) {
        let _change = self.changes();
        if let Some(former) = self.get(function) {
            self.put(&Arc::new(Route {
                canary: canary.map(Arc::new),
                ..Route::clone(&former)
            }));
        }
    }

    fn put(&self, route: &Arc<Route>) {
        let former = self.get(&route.function);
        for key in keys(&route.function) {
            self.shard(&key).rcu(|table| {
                let mut table = HashMap::clone(table);
                table.insert(key.clone(), Arc::clone(route));
                table
            });
        }
        self.domains.change(former.as_deref(), Some(route));
    }

    /// Takes the route of `function` out.
    pub fn remove(&self, function: &FunctionName) {
        let _change = self.changes();
        self.domains.change(self.get(function).as_deref(), None);
        for key in keys(function) {
            self.shard(&key).rcu(|table| {
                let mut table = HashMap::clone(table);
                table.remove(&key);
                table
            });
        }
    }

    fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, key: &str) -> &Shard {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }
}

fn keys(function: &FunctionName) -> impl Iterator<Item = Box<str>> {
    let short = function.namespace() == DEFAULT_NAMESPACE;
    let short = short.then(|| function.name().into());
    short.into_iter().chain([function.qualified().into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn route(name: &str) -> Route {
        Route {
            function: name.parse().expect("valid"),
            track: Track::Stable,
            revision: "r".into(),
            timeout: Timespan::from_secs(1),
            body_limit: 1,
            output_limit: 1,
            cors: None,
            guard: None,
            domains: Vec::new(),
            target: Target::Replicas(Arc::default()),
            counters: Arc::default(),
            canary: None,
        }
    }

    #[test]
    fn both_spellings_of_a_name_find_the_route() {
        let routes = Routes::default();
        routes.set(route("hello"));
        routes.set(route("hello.staging"));
        assert!(routes.find("hello").is_some() && routes.find("hello.openfaas-fn").is_some());
        assert_eq!(routes.all().len(), 2);
        routes.remove(&"hello".parse().expect("valid"));
        assert!(routes.find("hello").is_none() && routes.find("hello.openfaas-fn").is_none());
        assert!(routes.find("hello.staging").is_some());
    }
    #[test]
    fn a_canary_gets_its_share_until_it_ends() {
        let routes = Routes::default();
        let name: FunctionName = "hello".parse().expect("valid");
        let canary = || {
            let route = Route {
                track: Track::Canary,
                ..route("hello")
            };
            Some(CanaryRoute {
                share: "25%".parse().expect("valid"),
                route: Arc::new(route),
            })
        };
        let taken = || {
            let choose = |draw| routes.find("hello").expect("a route").choose(|| draw);
            let tracks = (0..10_000).map(|draw| choose(draw).track);
            tracks.filter(|track| *track == Track::Canary).count()
        };
        routes.set_canary(&name, canary());
        assert!(routes.find("hello").is_none(), "nobody to be a canary of");
        routes.set(route("hello"));
        assert_eq!(taken(), 0);
        routes.set_canary(&name, canary());
        assert_eq!((taken(), routes.all().len()), (2_500, 2));
        routes.set_canary(&name, None);
        assert_eq!((taken(), routes.all().len()), (0, 1));
        routes.set_canary(&name, canary());
        routes.set(route("hello"));
        assert_eq!(taken(), 0);
    }
}
