use std::time::Duration;

/// How much of everything a run does.
#[derive(Debug, Clone)]
pub struct Form {
    /// What its results are kept under.
    pub name: &'static str,
    /// Whether functions that take long to build for the first time are there too.
    pub slow_builds: bool,
    /// How long calls are made with no fault, for comparison.
    pub quiet: Duration,
    /// Deploys of each function.
    pub redeploys: u32,
    /// Replicas that are killed.
    pub replica_kills: u32,
    /// Calls go on for so long after each of them.
    pub after_replica_kill: Duration,
    /// How often hob is killed under the calls.
    pub hob_kills: u32,
    /// Calls go on for so long after each of them.
    pub after_hob_kill: Duration,
    /// How long a function is called in bursts, so that it goes to sleep in between.
    pub sleep: Duration,
    /// How long a function floods its log.
    pub flood: Duration,
    /// How often hob is killed under the changes.
    pub state_kills: u32,
    /// Clients that make changes.
    pub state_clients: usize,
    /// Acknowledged changes between two kills, at least.
    pub state_changes: usize,
}

impl Form {
    /// All of it: minutes.
    pub fn long() -> Self {
        Self {
            name: "long",
            slow_builds: true,
            quiet: Duration::from_secs(30),
            redeploys: 20,
            replica_kills: 20,
            after_replica_kill: Duration::from_millis(1500),
            hob_kills: 5,
            after_hob_kill: Duration::from_secs(5),
            sleep: Duration::from_secs(40),
            flood: Duration::from_secs(20),
            state_kills: 10,
            state_clients: 3,
            state_changes: 25,
        }
    }

    /// The same in less than a minute, for every run of the tests.
    pub fn short() -> Self {
        Self {
            name: "short",
            slow_builds: false,
            quiet: Duration::from_secs(2),
            redeploys: 2,
            replica_kills: 4,
            after_replica_kill: Duration::from_millis(500),
            hob_kills: 2,
            after_hob_kill: Duration::from_millis(1500),
            sleep: Duration::from_secs(9),
            flood: Duration::from_secs(2),
            state_kills: 3,
            state_clients: 2,
            state_changes: 8,
        }
    }
}
