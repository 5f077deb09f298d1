use std::{collections::HashMap, future::Future, pin::pin, sync::Arc, time::Duration};

use hob_model::{
    FleetName, Route, Target, Track,
    port::{Dial, Wake},
};
use hob_store::clock::unix_now;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{Control, control::blocking};

/// How often the replicas are looked at; a function is frozen, stopped or woken ahead of its
/// schedule at most this much late.
const CHECK: Duration = Duration::from_secs(1);
/// A function that could not be frozen is left alone for so long.
const FREEZE_AGAIN: Duration = Duration::from_secs(30);
/// How often the disk of images that nobody needs is given back; the first time at the start.
const TIDY: Duration = Duration::from_secs(3600);

/// What becomes of a function that nobody calls.
#[derive(Debug)]
enum Step {
    /// A run of its schedule is near.
    Wake,
    Freeze,
    Stop,
}

impl Control {
    /// Presents the certificates that there are, and makes those of the own authority.
    pub async fn look_after_certificates(&self) {
        if let Some(certificates) = self.certificates.clone() {
            blocking(&self.config.runtime, move || certificates.look()).await;
        }
    }

    /// Background work, until `shutdown` completes: makes the calls of the queue by `dial`, freezes
    /// and stops functions that nobody calls, has replicas follow the load, calls those whose time
    /// has come, and tidies up images, bundles and the audit.
    pub async fn run(
        self: Arc<Self>,
        dial: Arc<dyn Dial>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let stop = CancellationToken::new();
        let mut tasks = vec![
            aside(
                "the queue",
                Arc::clone(&self).make_calls(dial, stop.clone()),
            ),
            aside(
                "the clock of schedules",
                Arc::clone(&self).keep_time(stop.clone()),
            ),
            aside("the autoscaler", Arc::clone(&self).keep_scale(stop.clone())),
            aside(
                "the collection of bundles",
                Arc::clone(&self).collect_bundles(stop.clone()),
            ),
            aside(
                "the record of tokens' last use",
                Arc::clone(&self).note_tokens(stop.clone()),
            ),
            aside(
                "the shortening of the audit",
                Arc::clone(&self).forget_changes(stop.clone()),
            ),
            aside(
                "the keeping of bans",
                Arc::clone(&self).keep_bans(stop.clone()),
            ),
        ];
        let certificates = self.certificates.clone();
        let certificates = certificates.map(|all| all.run(stop.clone()));
        tasks.extend(certificates.map(|work| aside("the care for certificates", work)));
        self.watch(shutdown).await;
        stop.cancel();
        for task in tasks {
            // It has told of its panic already.
            let _ = task.await;
        }
    }

    async fn watch(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A step may take longer than a check: each function has at most one under way.
        let mut under_way: HashMap<FleetName, JoinHandle<()>> = HashMap::new();
        let mut tidy = interval(TIDY);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _ = check.tick() => {}
                _ = tidy.tick() => {
                    tokio::spawn(Arc::clone(&self).tidy_images());
                    continue;
                }
            }
            under_way.retain(|_, step| !step.is_finished());
            for route in self.routes.all() {
                let fleet = route.fleet();
                if under_way.contains_key(&fleet) {
                    continue;
                }
                if let Some(step) = self.next_step(&route) {
                    let step = Arc::clone(&self).take(step, fleet.clone());
                    under_way.insert(fleet, tokio::spawn(step));
                }
            }
        }
    }

    /// What is to be done with a function now, if anything.
    fn next_step(&self, route: &Route) -> Option<Step> {
        let Target::Replicas(replicas) = &route.target else {
            return None;
        };
        let name = &route.function;
        let function = self.deployed.get(name)?;
        let (revision, _) = function.answering(route.track)?;
        let settings = &revision.settings;
        let (ready, frozen) = (replicas.ready(), replicas.frozen());
        let near = |ahead| self.timetable.is_near(name, unix_now(), ahead);
        let prewake = settings.prewake.filter(|_| route.track == Track::Stable);
        if prewake.is_some_and(|ahead| near(ahead.0)) {
            return (!replicas.is_awake()).then_some(Step::Wake);
        }
        if function.always(route.track) > 0 {
            return None;
        }
        let all = ready.iter().chain(frozen.iter());
        let quiet = all.map(|backend| backend.idle_for()).min()?;
        let freeze = settings.freeze.after().filter(|_| !ready.is_empty());
        if quiet >= settings.idle.0 {
            Some(Step::Stop)
        } else if freeze.is_some_and(|after| quiet >= after.0) {
            Some(Step::Freeze)
        } else {
            None
        }
    }

    /// A call that comes meanwhile is safe: the engine lets it end, or it wakes the function.
    async fn take(self: Arc<Self>, step: Step, name: FleetName) {
        match step {
            Step::Wake => match self.wake(&name).await {
                Ok(()) => tracing::info!("function `{name}` is awake for its schedule"),
                // The log tells why, once for each start.
                Err(error) => tracing::debug!("`{name}`: {error}"),
            },
            Step::Freeze => match self.engine.freeze(&name).await {
                Ok(true) => tracing::info!("function `{name}` is quiet and was frozen"),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("quiet function `{name}` could not be frozen: {error}");
                    sleep(FREEZE_AGAIN).await;
                }
            },
            Step::Stop => match self.engine.scale(&name, 0).await {
                Ok(_) => tracing::info!("function `{name}` is idle and was stopped"),
                Err(error) => {
                    tracing::warn!("idle function `{name}` could not be stopped: {error}");
                }
            },
        }
    }
}

/// Does work of the background that goes on until the stop, and says at once if it ends in a panic:
/// all else goes on without it.
fn aside(what: &'static str, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    let work = tokio::spawn(work);
    tokio::spawn(async move {
        if let Err(error) = work.await
            && error.is_panic()
        {
            tracing::error!(
                "{what} has ended by a fault in hob and is back after a restart: {error}"
            );
        }
    })
}
