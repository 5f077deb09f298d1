//! What an earlier daemon left running: it goes on where it is what its function wants now, and
//! is ended where not.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use hob_model::Backend;
use hob_sandbox::{Cage, Sandbox, network::Subnet};
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    fleet::Fleet,
    fleets::Fleets,
    host::{Host, listen_to},
    phase::{Entry, Phase},
    places::Places,
    plan::{Plan, Program},
    ready::accepts,
    record::Record,
    replica::{Belongings, Port, Replica, STOP_GRACE},
    scratch::Scratch,
    supervise,
};

/// How long a replica may take to accept a connection; the kernel does that for it.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(1);

/// Everything that an earlier daemon left, as its records tell.
#[derive(Debug)]
pub(super) struct Estate(Vec<(Record, Option<Cage>)>);

/// One replica of it, until its function is known.
#[derive(Debug)]
pub(super) struct Inherited {
    record: Record,
    /// `None` if it ended while nobody watched.
    belongings: Option<Belongings>,
}

// === impl Estate ===

impl Estate {
    /// Looks at what is left. A cage that could not go on, whatever its function says, is ended.
    pub(super) fn find(places: &Places, sandbox: &Sandbox, subnet: Subnet) -> Self {
        let records = Record::read_all(&places.records()).into_iter();
        let look = |record: Record| {
            let cage = sandbox.adopt(&record.cage).unwrap_or_else(|problem| {
                tracing::warn!(replica = record.replica, %problem, "cannot take over a replica");
                None
            });
            let network = record.network.as_ref();
            let reachable = network.is_none_or(|network| network.subnet == subnet.to_string());
            // Nobody knows whether it has had its call.
            let cage = cage.filter(|_| reachable && !record.once);
            (record, cage)
        };
        Self(records.map(look).collect())
    }

    fn living(&self) -> impl Iterator<Item = &Record> {
        let living = self.0.iter().filter(|(_, cage)| cage.is_some());
        living.map(|(record, _)| record)
    }

    /// Names of the cages.
    pub(super) fn cages(&self) -> BTreeSet<String> {
        self.living().map(|record| record.cage.id.clone()).collect()
    }

    /// Files of the networks.
    pub(super) fn networks(&self) -> Vec<PathBuf> {
        let networks = self.living().filter_map(|record| record.network.as_ref());
        networks.map(|network| network.path.clone()).collect()
    }

    /// All other files and folders.
    pub(super) fn paths(&self, places: &Places) -> BTreeSet<PathBuf> {
        let paths = self.living().flat_map(|record| {
            [
                places.record(&record.replica),
                places.replica(&record.replica, record.owner),
                places.secrets(&record.function, record.owner),
            ]
        });
        paths.collect()
    }
}

// === impl Fleets ===

impl Fleets {
    /// Hands every replica to the fleet of its function.
    pub(super) fn inherit(&self, estate: Estate) {
        for (record, cage) in estate.0 {
            let fleet = self.find_or_make(&record.function);
            let belongings = cage.and_then(|cage| fleet.belongings(&record, cage));
            fleet.inherit(Inherited { record, belongings });
        }
    }

    /// All functions are known: ends what none of them went on with. Returns at once.
    pub(super) fn settle(self: &Arc<Self>) {
        let (mut adopted, mut ended) = (0, 0);
        let mut looks_up_names = false;
        for fleet in self.list() {
            {
                let state = fleet.state();
                let outbound = |entry: &Entry| entry.replica.looks_up_names();
                looks_up_names |= state.entries.iter().any(outbound);
                adopted += state.ready_count() + state.frozen_count();
            }
            let left = fleet.heirs(|_| true);
            ended += left.iter().filter(|one| one.belongings.is_some()).count();
            if !left.is_empty() {
                // Whoever closes the fleet waits for it.
                let ends = left.into_iter().map(Inherited::end);
                fleet.watch(async { drop(join_all(ends).await) });
            }
        }
        let functions = self.functions().into_iter();
        for fleet in functions.filter(|fleet| !fleet.is_deployed()) {
            tokio::spawn(Arc::clone(self).give_up(fleet));
        }
        if looks_up_names {
            self.host.networks.resume();
        }
        if adopted > 0 || ended > 0 {
            tracing::info!(adopted, ended, "replicas of an earlier run");
        }
    }

    /// Takes out a function that is none, unless it becomes one meanwhile.
    async fn give_up(self: Arc<Self>, fleet: Arc<Fleet>) {
        let Ok(turn) = self.turn(&fleet.name).await else {
            return;
        };
        let fleet = &turn.fleet;
        if !fleet.is_deployed() {
            fleet.closed.cancel();
            fleet.settled().await;
            self.forget(fleet);
        }
    }

    /// Leaves every replica to the next daemon, which ends those that only just start. Nothing
    /// can be started afterwards. Blocks.
    pub(super) fn let_go(&self) {
        self.host.closing.cancel();
        let left: usize = self.list().iter().map(|fleet| fleet.let_go()).sum();
        match left {
            0 => self.host.networks.shutdown(),
            _ => self.host.networks.let_go(),
        }
    }
}

// === impl Fleet ===

impl Fleet {
    fn belongings(self: &Arc<Self>, record: &Record, cage: Cage) -> Option<Belongings> {
        let network = match &record.network {
            None => None,
            Some(network) => match self.host.networks.adopt(network) {
                Ok(network) => Some(network),
                Err(problem) => {
                    let replica = &record.replica;
                    tracing::warn!(replica, %problem, "a replica has no network any more");
                    return None;
                }
            },
        };
        let owner = record.owner.or_else(Host::cage_owner);
        let log = self.host.places.logs(&self.name);
        let log = super::logs::path_of(&log, &record.replica);
        Some(Belongings {
            cage: Arc::new(cage),
            scratch: Scratch::of(&self.host.places, record),
            secrets: self.secrets_of(owner, record.owner).hold(&record.secrets),
            port: match network {
                Some(_) => Port::Own(record.port),
                None => Port::Leased(self.host.keep_port(record.port)),
            },
            network,
            log: self.host.logs.open(log),
        })
    }

    /// Lets the replicas of an earlier daemon that are of this very revision go on, and has those
    /// replaced that ended meanwhile. One that was frozen stays so. Nothing if there is none. The
    /// caller holds `turn`.
    pub(super) async fn take_over(self: &Arc<Self>, plan: &Arc<Plan>) {
        let Some(program) = plan.program() else {
            return;
        };
        let fit = self.heirs(|one| one.fits(program));
        if fit.is_empty() {
            return;
        }
        let all = u32::try_from(fit.len()).unwrap_or(u32::MAX);
        let looks = fit.into_iter().map(|one| self.look_at(one, program));
        let entries: Vec<Entry> = join_all(looks).await.into_iter().flatten().collect();
        self.renew_secrets(program).await;
        let mut state = self.state();
        for entry in entries {
            self.watch(supervise::keep(
                Arc::clone(self),
                Arc::clone(&entry.replica),
            ));
            state.entries.push(entry);
        }
        // One of several that were frozen is missed by nobody, should it have ended.
        state.wanted = match state.frozen_count() {
            // Those at their call were not wanted ahead.
            _ if program.is_used_once() => plan.revision.settings.scaling().least,
            0 => all,
            _ => state.ready_count(),
        };
        self.publish(&state);
        self.open(plan);
        state.plan = Some(Arc::clone(plan));
        self.heal(&mut state);
    }

    /// `None` for one that is dead or deaf, of which then nothing is left.
    async fn look_at(&self, one: Inherited, program: &Arc<Program>) -> Option<Entry> {
        let door = one.record.door?;
        let replica = match one.belongings {
            Some(belongings) => Replica::adopt(&self.host, program, one.record, belongings),
            None => return None,
        };
        let backend = Backend::new(replica.id.clone(), replica.endpoint(door));
        let (replica, backend) = (Arc::new(replica), Arc::new(backend));
        // The kernel knows best, however far the daemon before had come with it.
        if replica.is_frozen() {
            backend.pause();
            let phase = Phase::Frozen(backend);
            return Some(Entry { replica, phase });
        }
        let heard = timeout(ACCEPT_TIMEOUT, accepts(&backend.endpoint)).await;
        if !heard.unwrap_or(false) {
            tracing::warn!(replica = %replica.id, "a replica of an earlier run does not listen any more");
            let clear = move || replica.clear();
            // A panic in there is shown by the runtime.
            let _ = spawn_blocking(clear).await;
            return None;
        }
        let phase = Phase::Ready(backend);
        Some(Entry { replica, phase })
    }

    /// One may have been set and not have reached the replicas before the daemon died.
    async fn renew_secrets(self: &Arc<Self>, program: &Arc<Program>) {
        let (fleet, program) = (Arc::clone(self), Arc::clone(program));
        let renew = move || {
            for name in &program.revision.settings.secrets {
                if let Err(problem) = fleet.refresh_secret(name) {
                    tracing::warn!(function = %fleet.name, %problem, "a secret may be an old one");
                }
            }
        };
        // A panic in there is shown by the runtime.
        let _ = spawn_blocking(renew).await;
    }

    /// Tells how many replicas that are.
    fn let_go(&self) -> usize {
        let replicas: Vec<_> = {
            let state = self.state();
            let entries = state.entries.iter();
            entries.map(|entry| Arc::clone(&entry.replica)).collect()
        };
        let inherited = self.heirs(|_| true);
        let left = replicas.len() + inherited.len();
        for replica in &replicas {
            match replica.program.is_used_once() {
                // No other daemon could go on with it.
                true => replica.clear(),
                false => replica.let_go(),
            }
        }
        let belongings = inherited.into_iter().filter_map(|one| one.belongings);
        belongings.for_each(Belongings::let_go);
        left
    }
}

// === impl Inherited ===

impl Inherited {
    pub(super) fn id(&self) -> &str {
        &self.record.replica
    }

    /// Whether a replica started now would be the same, and it took calls.
    fn fits(&self, program: &Program) -> bool {
        let record = &self.record;
        record.door.is_some()
            && record.revision == program.revision.digest
            && record.cage.isolation == program.cage.isolation
            && record.cage.mechanism == program.cage.mechanism
            && record.owner == program.unusual_owner()
            && record.network.is_some() == program.network().is_some()
    }

    /// Asks it to end, and makes it after a grace.
    async fn end(self) {
        let Some(belongings) = self.belongings else {
            return;
        };
        let cage = &belongings.cage;
        cage.terminate();
        if let Ok(pidfd) = listen_to(cage.pidfd()) {
            let _ = timeout(STOP_GRACE, pidfd.readable()).await;
        }
        // A panic in there is shown by the runtime.
        let _ = spawn_blocking(move || drop(belongings)).await;
    }
}
