//! A FAKE of Fly's Machines API and of its proxy, for tests: an HTTP server on this machine that
//! makes no machines. It keeps to what Fly documents and to what the public bfaas was seen to rely
//! on, and does the rest in the strictest way; that it is as the real one in all else is not known.
//!
//! States change when somebody looks, so nothing takes time, and its clock moves when told to.

mod api;
mod fault;
mod machine;
mod proxy;
mod server;
mod worker;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

pub use fault::{FlyFault, FlyVerb};
pub use machine::FakeMachine;

/// What the API is to be asked with.
pub const FLY_TOKEN: &str = "fo1_a-token-that-is-never-shown";
/// The only app there is.
pub const FLY_APP: &str = "workers";

/// The fake. It ends when it is dropped.
pub struct FakeFly {
    world: Arc<World>,
    api: SocketAddr,
    proxy: SocketAddr,
    _stop: watch::Sender<()>,
}

/// What the servers share.
struct World {
    state: Mutex<State>,
    /// Lets go of calls that [`FlyFault::Held`] holds.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    machines: BTreeMap<String, FakeMachine>,
    /// How far its clock is ahead.
    ahead: Duration,
    made: u64,
    leases: u64,
    calls: Vec<String>,
    /// Scripts that were run, with their machine.
    runs: Vec<(String, String)>,
    hung_up: usize,
    show_nonces: bool,
    faults: Vec<(FlyVerb, FlyFault)>,
    always: Vec<(FlyVerb, FlyFault)>,
}

impl FakeFly {
    /// Starts it on two free ports of the loopback.
    pub fn start() -> Self {
        let world = Arc::new(World {
            state: Mutex::default(),
            held: watch::Sender::new(false),
        });
        let (stop, stopped) = watch::channel(());
        let api = server::start(world.clone(), stopped.clone(), api::answer);
        let proxy = server::start(world.clone(), stopped, proxy::answer);
        Self {
            world,
            api,
            proxy,
            _stop: stop,
        }
    }

    /// Where the API is.
    pub fn api(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Where the proxy to the machines is, as `http://APP.flycast` would be.
    pub fn flycast(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// What was asked for, in its order: `start 0000000000000001`, `make worker-p-1`, `list`. What
    /// a fault took is in it too.
    pub fn calls(&self) -> Vec<String> {
        self.state().calls.clone()
    }

    /// Forgets what was asked for.
    pub fn forget_calls(&self) {
        self.state().calls.clear();
    }

    /// Has the next call of this kind go wrong, after those that were said before.
    pub fn fail(&self, verb: FlyVerb, fault: FlyFault) {
        self.state().faults.push((verb, fault));
    }

    /// Has all calls of this kind go wrong until [`FakeFly::mend`].
    pub fn fail_always(&self, verb: FlyVerb, fault: FlyFault) {
        self.state().always.push((verb, fault));
    }

    /// Nothing goes wrong any more.
    pub fn mend(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.always.clear();
    }

    /// Lets go of what [`FlyFault::Held`] holds.
    pub fn let_go(&self) {
        self.world.held.send_replace(true);
    }

    /// All machines that are not destroyed.
    pub fn machines(&self) -> Vec<FakeMachine> {
        self.state().machines.values().cloned().collect()
    }

    /// Those that run, or are about to.
    pub fn running(&self) -> Vec<String> {
        let machines = self.machines();
        let running = machines.iter().filter(|machine| machine.is_running());
        running.map(|machine| machine.id.clone()).collect()
    }

    /// Puts in a machine that somebody else made, and returns its identifier.
    pub fn add(&self, machine: FakeMachine) -> String {
        self.state().add(machine)
    }

    /// Changes a machine behind everybody's back.
    ///
    /// # Panics
    /// When there is none of that identifier.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut FakeMachine)) {
        let mut state = self.state();
        change(state.machines.get_mut(id).expect("a machine"));
    }

    /// Whether the proof of a lease is shown to whoever looks at its machine. Fly's documents say
    /// that it is, and not to whom.
    pub fn show_nonces(&self, show: bool) {
        self.state().show_nonces = show;
    }

    /// Lets time pass, for leases.
    pub fn pass(&self, time: Duration) {
        self.state().ahead += time;
    }

    /// Its clock.
    pub fn clock(&self) -> impl Fn() -> SystemTime + Send + Sync + 'static {
        let world = self.world.clone();
        move || SystemTime::now() + world.state().ahead
    }

    /// Scripts that were run, with their machine.
    pub fn runs(&self) -> Vec<(String, String)> {
        self.state().runs.clone()
    }

    /// How many runs' callers went away before the end.
    pub fn hung_up(&self) -> usize {
        self.state().hung_up
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.world.state()
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn now(&self) -> u64 {
        let now = SystemTime::now() + self.ahead;
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }

    fn add(&mut self, mut machine: FakeMachine) -> String {
        self.made += 1;
        let id = format!("{:014x}", self.made);
        machine.id.clone_from(&id);
        machine.instance = format!("01FAKE{:08}", self.made);
        if machine.created == 0 {
            machine.created = self.now();
        }
        self.machines.insert(id.clone(), machine);
        id
    }

    fn fault(&mut self, verb: FlyVerb) -> Option<FlyFault> {
        match self.faults.iter().position(|(of, _)| *of == verb) {
            Some(index) => Some(self.faults.remove(index).1),
            None => {
                let always = self.always.iter().find(|(of, _)| *of == verb);
                always.map(|(_, fault)| fault.clone())
            }
        }
    }
}
