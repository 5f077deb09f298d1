use std::{
    array,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::Arc,
};

use arc_swap::ArcSwap;

use crate::{Cors, Counters, DEFAULT_NAMESPACE, FunctionName, ReplicaSet, Timespan};

/// Everything the data plane has to know of one function.
#[derive(Debug)]
pub struct Route {
    /// Whose calls these are.
    pub function: FunctionName,
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
    /// Who answers.
    pub target: Target,
    /// Calls so far. Shared by all revisions of the function.
    pub counters: Arc<Counters>,
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
    hasher: RandomState,
}

impl Default for Routes {
    fn default() -> Self {
        Self {
            shards: array::from_fn(|_| Shard::default()),
            hasher: RandomState::new(),
        }
    }
}

impl Routes {
    /// Finds by `name` (default namespace) or `name.namespace`, as it stands in a URL.
    pub fn find(&self, name: &str) -> Option<Arc<Route>> {
        self.shard(name).load().get(name).cloned()
    }

    /// The route of `function`.
    pub fn get(&self, function: &FunctionName) -> Option<Arc<Route>> {
        self.find(&function.qualified())
    }

    /// Every route, each once.
    pub fn all(&self) -> Vec<Arc<Route>> {
        let tables = self.shards.iter().map(ArcSwap::load);
        let qualified = |table: &HashMap<Box<str>, Arc<Route>>| -> Vec<_> {
            let keys = table.iter().filter(|(key, _)| key.contains('.'));
            keys.map(|(_, route)| Arc::clone(route)).collect()
        };
        tables.flat_map(|table| qualified(&table)).collect()
    }

    /// The routes with replicas that take calls now, each once: none of functions that sleep. Cheap,
    /// however many do.
    pub fn awake(&self) -> Vec<(Arc<Route>, Arc<ReplicaSet>)> {
        let mut awake = Vec::new();
        for shard in &self.shards {
            for (key, route) in shard.load().iter() {
                if let Target::Replicas(replicas) = &route.target
                    && replicas.has_ready()
                    && key.contains('.')
                {
                    awake.push((Arc::clone(route), Arc::clone(replicas)));
                }
            }
        }
        awake
    }

    /// Adds a route, or puts it in place of the one that its function had.
    pub fn set(&self, route: Route) {
        let route = Arc::new(route);
        for key in keys(&route.function) {
            self.shard(&key).rcu(|table| {
                let mut table = HashMap::clone(table);
                table.insert(key.clone(), Arc::clone(&route));
                table
            });
        }
    }

    /// Takes the route of `function` out.
    pub fn remove(&self, function: &FunctionName) {
        for key in keys(function) {
            self.shard(&key).rcu(|table| {
                let mut table = HashMap::clone(table);
                table.remove(&key);
                table
            });
        }
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

    fn route(name: &str) -> Route {
        Route {
            function: name.parse().expect("valid"),
            revision: "r".into(),
            timeout: Timespan::from_secs(1),
            body_limit: 1,
            output_limit: 1,
            cors: None,
            target: Target::Replicas(Arc::default()),
            counters: Arc::default(),
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
}
