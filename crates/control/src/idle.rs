use std::{collections::HashMap, future::Future, pin::pin, sync::Arc, time::Duration};

use hob_model::{FleetName, Route, Target, Track, port::Dial};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use crate::Control;

/// How often the replicas are looked at; a function is stopped at most this much late.
const CHECK: Duration = Duration::from_secs(1);
/// How often the disk of images that nobody needs is given back; the first time at the start.
const TIDY: Duration = Duration::from_secs(3600);

impl Control {
    /// Background work, until `shutdown` completes: makes the calls of the queue by `dial`, stops
    /// functions that nobody calls, calls those whose time has come, and tidies up images and
    /// bundles.
    pub async fn run(
        self: Arc<Self>,
        dial: Arc<dyn Dial>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let stop = CancellationToken::new();
        let calls = tokio::spawn(Arc::clone(&self).make_calls(dial, stop.clone()));
        let clock = tokio::spawn(Arc::clone(&self).keep_time(stop.clone()));
        let bundles = tokio::spawn(Arc::clone(&self).collect_bundles(stop.clone()));
        self.watch(shutdown).await;
        stop.cancel();
        if let Err(error) = clock.await {
            tracing::error!("the clock of schedules ended early: {error}");
        }
        if let Err(error) = bundles.await {
            tracing::error!("the collection of bundles ended early: {error}");
        }
        if let Err(error) = calls.await {
            tracing::error!("the queue ended early: {error}");
        }
    }

    async fn watch(self: Arc<Self>, shutdown: impl Future<Output = ()> + Send) {
        let mut shutdown = pin!(shutdown);
        let mut check = interval(CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A stop may take longer than a check: each function has at most one under way.
        let mut stopping: HashMap<FleetName, JoinHandle<()>> = HashMap::new();
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
            stopping.retain(|_, stop| !stop.is_finished());
            for route in self.routes.all() {
                let fleet = route.fleet();
                if !stopping.contains_key(&fleet) && self.is_idle(&route) {
                    let stop = tokio::spawn(Arc::clone(&self).put_to_sleep(fleet.clone()));
                    stopping.insert(fleet, stop);
                }
            }
        }
    }

    fn is_idle(&self, route: &Route) -> bool {
        let Target::Replicas(replicas) = &route.target else {
            return false;
        };
        let ready = replicas.ready();
        let Some(function) = self.deployed.get(&route.function) else {
            return false;
        };
        let revision = match (route.track, function.canary.as_deref()) {
            (Track::Stable, _) => &function.revision,
            (Track::Canary, Some(canary)) => &canary.revision,
            (Track::Canary, None) => return false,
        };
        let patience = revision.settings.idle.0;
        !ready.is_empty() && ready.iter().all(|backend| backend.idle_for() >= patience)
    }

    /// A call that comes meanwhile is safe: the engine lets it end, or it wakes the function.
    async fn put_to_sleep(self: Arc<Self>, name: FleetName) {
        match self.engine.scale(&name, 0).await {
            Ok(()) => tracing::info!("function `{name}` is idle and was stopped"),
            Err(error) => tracing::warn!("idle function `{name}` could not be stopped: {error}"),
        }
    }
}
