//! Replicas follow the load: more of them at once, fewer when fewer have been enough for a while.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::{
    FleetName, FunctionName, ReplicaSet, Route, Scaling, Target, Track, openfaas::Load, port::Wake,
};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::{Control, usage::Usage};

/// How often the load is looked at: with a start in between, more replicas are there in a second.
const LOOK: Duration = Duration::from_millis(500);
/// Calls that begin are counted over at least so long: less tells no rate.
const RATE_SPAN: Duration = Duration::from_secs(1);

/// What is known of the load of every function that is awake.
#[derive(Default)]
pub(crate) struct Scalers {
    all: Mutex<HashMap<FleetName, Scaler>>,
    /// Apart from what clients ask: each look ends the time that the one before began.
    usage: Usage,
}

struct Scaler {
    course: Course,
    rate: Rate,
    /// Replicas that its load asked for at the last look, whatever its bounds.
    needed: u32,
    /// Replicas that it is to have.
    wanted: u32,
}

/// How many replicas were needed, and when last; the most of the window counts. The numbers only
/// fall from front to back, so that there are never more of them than replicas.
struct Course(VecDeque<(Instant, u32)>);

/// Calls that begin each second.
struct Rate {
    since: Instant,
    /// Calls up to then.
    started: u64,
    per_second: f64,
}

/// One function, or its canary, at the moment of a look.
struct Awake {
    fleet: FleetName,
    scaling: Scaling,
    /// Replicas that somebody asked for.
    by_hand: u32,
    /// Its part of what is measured of the function as a whole.
    part: f64,
    replicas: u32,
    calls: u32,
    /// Calls of the function as a whole since hob started.
    started: u64,
}

/// What is measured only where somebody's number follows it.
#[derive(Default)]
struct Measured {
    millicores: HashMap<FunctionName, f64>,
    queued: HashMap<FunctionName, u64>,
}

// === impl Control ===

impl Control {
    /// Has the number of replicas follow the load, until `stop`.
    pub(crate) async fn keep_scale(self: Arc<Self>, stop: CancellationToken) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rousing = HashMap::new();
        while stop.run_until_cancelled(look.tick()).await.is_some() {
            self.rouse(&mut rousing);
            let awake = self.awake_functions();
            let measured = self.measure(&awake).await;
            for fleet in self.scalers.follow(&awake, &measured, Instant::now()) {
                self.adjust(&fleet).await;
            }
        }
    }

    /// Starts what always runs and has no replica. Where that failed a moment ago, nothing.
    fn rouse(self: &Arc<Self>, under_way: &mut HashMap<FleetName, JoinHandle<()>>) {
        under_way.retain(|_, start| !start.is_finished());
        for fleet in self.deployed.always() {
            // Somebody who changes it starts it as well, or is about to stop it.
            let is_left_alone = self.changes.try_take(&fleet.function).is_some();
            if under_way.contains_key(&fleet) || !is_left_alone || !self.is_down(&fleet) {
                continue;
            }
            let (control, name) = (Arc::clone(self), fleet.clone());
            let start = async move {
                // Told to the log by whoever makes the start, once for each.
                let _ = control.wake(&name).await;
            };
            under_way.insert(fleet, tokio::spawn(start));
        }
    }

    fn is_down(&self, fleet: &FleetName) -> bool {
        let route = self.routes.of(fleet);
        let target = route.as_ref().map(|route| &route.target);
        matches!(target, Some(Target::Replicas(replicas)) if !replicas.is_awake())
    }

    fn awake_functions(&self) -> Vec<Awake> {
        let awake = self.routes.awake().into_iter();
        let known = awake.filter_map(|(route, replicas)| self.look_at(&route, &replicas));
        known.collect()
    }

    fn look_at(&self, route: &Route, replicas: &ReplicaSet) -> Option<Awake> {
        let function = self.deployed.get(&route.function)?;
        let (revision, by_hand) = function.answering(route.track)?;
        let canary = function.canary.as_ref();
        let taken = canary.map_or(0.0, |canary| canary.share.fraction());
        let part = match route.track {
            Track::Stable => 1.0 - taken,
            Track::Canary => taken,
        };
        let whole = self.routes.get(&route.function)?;
        Some(Awake {
            fleet: route.fleet(),
            scaling: revision.settings.scaling(),
            by_hand,
            part,
            replicas: u32::try_from(replicas.ready().len()).unwrap_or(u32::MAX),
            calls: calls(replicas),
            started: whole.counters.totals().0,
        })
    }

    async fn measure(&self, awake: &[Awake]) -> Measured {
        let follows = |load| awake.iter().any(|one| one.scaling.load == load);
        let mut measured = Measured::default();
        if follows(Load::Cpu) {
            // Files of the kernel. Where they cannot be read, nothing is used.
            let observed = self.observed().await.unwrap_or_default();
            let functions = awake.iter().filter(|one| one.scaling.load == Load::Cpu);
            let used = functions.map(|one| {
                let name = &one.fleet.function;
                let usage = self.scalers.usage.look(observed.get(name));
                (name.clone(), usage.cpu)
            });
            measured.millicores = used.collect();
        }
        if follows(Load::Queue) {
            let depths = self.queue_depths().into_iter();
            let queued = depths.map(|depth| (depth.function, depth.waiting + depth.running));
            measured.queued = queued.collect();
        }
        measured
    }

    async fn adjust(&self, fleet: &FleetName) {
        // Not what the look said: that may be from before a change.
        let Some(wanted) = self.scalers.wanted(fleet) else {
            return;
        };
        if let Err(error) = self.engine.adjust(fleet, wanted).await {
            tracing::debug!("function `{fleet}` cannot have {wanted} replicas: {error}");
        }
    }
}

/// Calls that a function has now, those that wait for a place included, and those at replicas that
/// are used once.
fn calls(replicas: &ReplicaSet) -> u32 {
    let ready = replicas.ready();
    let in_flight: u32 = ready.iter().map(|backend| backend.in_flight()).sum();
    in_flight + replicas.used() + replicas.waiting()
}

// === impl Scalers ===

impl Scalers {
    /// How many replicas a function is to have while it is awake; `None` for one that sleeps.
    pub(crate) fn wanted(&self, fleet: &FleetName) -> Option<u32> {
        self.lock().get(fleet).map(|scaler| scaler.wanted)
    }

    /// How many replicas its load alone asks for; 0 for one that sleeps.
    pub(crate) fn needed(&self, fleet: &FleetName) -> u32 {
        self.lock().get(fleet).map_or(0, |scaler| scaler.needed)
    }

    /// Its settings may be others now: what load asked for by the former ones counts no more.
    pub(crate) fn look_anew(&self, function: &FunctionName) {
        let mut all = self.lock();
        for fleet in FleetName::both(function) {
            if let Some(scaler) = all.get_mut(&fleet) {
                scaler.needed = 0;
            }
        }
    }

    /// Forgets the load up to now, since somebody has given `fleet` so many replicas.
    pub(crate) fn begin_anew(&self, fleet: &FleetName, replicas: u32) {
        let mut all = self.lock();
        match replicas {
            0 => drop(all.remove(fleet)),
            some => {
                if let Some(scaler) = all.get_mut(fleet) {
                    scaler.course = Course::new(some, Instant::now());
                    scaler.wanted = some;
                }
            }
        }
    }

    /// Takes in how things are now, and tells whose replicas are more or fewer than wanted.
    fn follow(&self, awake: &[Awake], measured: &Measured, now: Instant) -> Vec<FleetName> {
        let names: HashSet<_> = awake.iter().map(|one| &one.fleet).collect();
        let mut all = self.lock();
        all.retain(|name, _| names.contains(name));
        let mut off = Vec::new();
        for one in awake {
            let name = &one.fleet;
            let scaler = all
                .entry(name.clone())
                .or_insert_with(|| Scaler::new(one, now));
            let before = scaler.wanted;
            scaler.follow(one, measured, now);
            if scaler.wanted != before {
                let wanted = scaler.wanted;
                tracing::info!("function `{name}` goes from {before} replicas to {wanted}");
            }
            if scaler.wanted != one.replicas {
                off.push(name.clone());
            }
        }
        off
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FleetName, Scaler>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Awake ===

impl Awake {
    /// The number nearest to `replicas` that it may have.
    fn fit(&self, replicas: u32) -> u32 {
        self.scaling.nearest(replicas, self.by_hand)
    }
}

// === impl Scaler ===

impl Scaler {
    /// What it has counts as needed up to now: it may be from before a restart.
    fn new(one: &Awake, now: Instant) -> Self {
        Self {
            course: Course::new(one.replicas, now),
            rate: Rate {
                since: now,
                started: one.started,
                per_second: 0.0,
            },
            needed: 0,
            wanted: one.fit(one.replicas),
        }
    }

    fn follow(&mut self, one: &Awake, measured: &Measured, now: Instant) {
        let name = &one.fleet.function;
        let load = match one.scaling.load {
            Load::Calls => f64::from(one.calls),
            Load::Rate => self.rate.look(one.started, now) * one.part,
            Load::Cpu => measured.millicores.get(name).copied().unwrap_or(0.0) * one.part,
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
            Load::Queue => measured
                .queued
                .get(name)
                .map_or(0.0, |calls| *calls as f64 * one.part),
            Load::Custom => 0.0,
        };
        self.needed = one.scaling.needed(load);
        let window = one.scaling.window.0;
        let most = self.course.follow(one.fit(self.needed), window, now);
        self.wanted = one.fit(most);
    }
}

// === impl Course ===

impl Course {
    fn new(replicas: u32, now: Instant) -> Self {
        Self(VecDeque::from([(now, replicas)]))
    }

    /// The most that was needed within `window`, which ends now with `needed`.
    fn follow(&mut self, needed: u32, window: Duration, now: Instant) -> u32 {
        let Self(course) = self;
        while course.back().is_some_and(|(_, before)| *before <= needed) {
            course.pop_back();
        }
        course.push_back((now, needed));
        while course.len() > 1 && now.duration_since(course[0].0) >= window {
            course.pop_front();
        }
        course[0].1
    }
}

// === impl Rate ===

impl Rate {
    fn look(&mut self, started: u64, now: Instant) -> f64 {
        let span = now.duration_since(self.since);
        if span >= RATE_SPAN {
            #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 calls")]
            let calls = started.saturating_sub(self.started) as f64;
            *self = Self {
                since: now,
                started,
                per_second: calls / span.as_secs_f64(),
            };
        }
        self.per_second
    }
}

#[cfg(test)]
mod tests {
    use hob_model::Settings;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(10);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn more_come_at_once_and_go_after_a_window() {
        let start = Instant::now();
        let mut course = Course::new(1, start);
        for (at, needed, expected) in [
            (0.0, 1, 1),
            (0.5, 7, 7),
            (1.0, 3, 7),
            (9.0, 4, 7),
            (10.4, 2, 7),
            // 7 were last needed 10 s ago, 4 were not.
            (10.5, 2, 4),
            (18.9, 1, 4),
            (19.0, 1, 2),
            (20.4, 2, 2),
            (30.4, 1, 1),
            (30.5, 9, 9),
        ] {
            let now = start + seconds(at);
            assert_eq!(course.follow(needed, WINDOW, now), expected, "at {at} s");
        }
    }

    #[test]
    fn load_that_comes_and_goes_moves_nothing_and_takes_no_memory() {
        let start = Instant::now();
        let mut course = Course::new(1, start);
        for look in 0..10_000 {
            let needed = [9, 1, 5, 2][look as usize % 4];
            let wanted = course.follow(needed, WINDOW, start + LOOK * look);
            assert_eq!(wanted, 9);
            assert!(course.0.len() <= 4);
        }
    }

    #[test]
    fn with_no_window_it_follows_every_look() {
        let start = Instant::now();
        let mut course = Course::new(1, start);
        let follow = |(look, needed)| course.follow(needed, Duration::ZERO, start + LOOK * look);
        let wanted: Vec<_> = [(0, 1), (1, 4), (2, 2), (3, 2), (4, 1)]
            .map(follow)
            .to_vec();
        assert_eq!(wanted, [1, 4, 2, 2, 1]);
    }

    #[test]
    fn a_rate_takes_a_second_to_tell() {
        let start = Instant::now();
        let mut rate = Rate {
            since: start,
            started: 100,
            per_second: 0.0,
        };
        let mut look = |started, at| rate.look(started, start + seconds(at));
        assert_eq!(look(150, 0.5), 0.0);
        assert_eq!(look(200, 1.0), 100.0);
        assert_eq!(look(900, 1.5), 100.0);
        assert_eq!(look(200, 3.0), 0.0);
    }

    fn awake(name: &str, labels: &[(&str, &str)], calls: u32, started: u64) -> Awake {
        let labels = labels.iter();
        let settings = Settings {
            labels: labels
                .map(|(k, v)| (format!("com.openfaas.scale.{k}"), (*v).to_owned()))
                .collect(),
            ..Settings::default()
        };
        Awake {
            fleet: fleet(name),
            scaling: settings.scaling(),
            by_hand: 1,
            part: 1.0,
            replicas: 1,
            calls,
            started,
        }
    }

    fn fleet(name: &str) -> FleetName {
        FleetName::stable(&name.parse().expect("valid"))
    }

    #[test]
    fn each_function_follows_its_own_load_within_its_bounds() {
        let scalers = Scalers::default();
        let look = |calls: u32, started: u64| {
            vec![
                awake("calls", &[("type", "capacity"), ("target", "10")], calls, 0),
                awake("rate", &[("target", "10"), ("max", "5")], 9, started),
                awake("cpu", &[("type", "cpu"), ("target", "100")], 9, 0),
                awake("queue", &[("type", "queue"), ("target", "10")], 9, 0),
                awake("rule", &[("type", "ram"), ("min", "2")], 900, 0),
            ]
        };
        let name = |name: &str| -> FunctionName { name.parse().expect("valid") };
        let measured = Measured {
            millicores: HashMap::from([(name("cpu"), 271.0)]),
            queued: HashMap::from([(name("queue"), 100)]),
        };
        let start = Instant::now();
        scalers.follow(&look(1, 0), &measured, start);
        let off = scalers.follow(&look(19, 1000), &measured, start + seconds(1.0));
        let wanted = ["calls", "rate", "cpu", "queue", "rule"];
        let wanted = wanted.map(|one| scalers.wanted(&fleet(one)).expect("awake"));
        assert_eq!(wanted, [3, 5, 4, 12, 2]);
        assert_eq!(off.len(), 5);

        // By hand, fewer at once; whoever sleeps is forgotten.
        scalers.begin_anew(&fleet("queue"), 1);
        scalers.begin_anew(&fleet("cpu"), 0);
        assert_eq!(scalers.wanted(&fleet("queue")), Some(1));
        assert_eq!(scalers.wanted(&fleet("cpu")), None);
        scalers.follow(&[], &measured, start + seconds(2.0));
        assert_eq!(scalers.wanted(&fleet("calls")), None);
    }
}
