use std::collections::HashMap;

use hob_model::{
    Canary, FleetName, Function, FunctionName, Route, Run,
    port::{EngineError, Observed},
    wire::{CanarySummary, FunctionState, FunctionSummary, InstanceState},
};

use crate::{Control, domains};

impl Control {
    /// What the engine sees, by function.
    pub(crate) async fn observed(&self) -> Result<HashMap<FunctionName, Observed>, EngineError> {
        let observed = self.engine.observe().await?;
        let by_name = observed.into_iter().map(|one| (one.function.clone(), one));
        Ok(by_name.collect())
    }

    /// Desired and observed state in one. A function that the engine does not know is one that
    /// could not be restored.
    pub(crate) fn summary(
        &self,
        function: &Function,
        observed: Option<&Observed>,
    ) -> FunctionSummary {
        let route = self.routes.get(&function.name);
        let (calls, failed) = calls(route.as_deref());
        let canary = function.canary.as_deref();
        let is_canary = |digest: &str| canary.is_some_and(|one| one.revision.digest == digest);
        let count = |state| count(observed, state, |digest| !is_canary(digest));
        let ready = count(InstanceState::Ready);
        let instances = observed.map_or(&[][..], |observed| &observed.instances);
        let memory = instances.iter().filter_map(|instance| instance.memory);
        FunctionSummary {
            name: function.name.clone(),
            language: function.revision.language.clone(),
            revision: function.revision.digest.clone(),
            revision_number: function.number,
            state: observed.map_or(FunctionState::Failing, |observed| observed.state),
            replicas: match function.revision.run {
                Run::Process { .. } | Run::Image(_) => self.replicas(function, ready),
                // The gateway serves the files; no replica will ever be ready.
                Run::Static { .. } => 0,
            },
            ready,
            frozen: count(InstanceState::Frozen),
            memory: memory.reduce(u64::saturating_add),
            wakes: self.metrics.wakings.of(&function.name),
            calls,
            failed,
            canary: canary
                .map(|canary| self.canary_summary(canary, function, route.as_deref(), observed)),
            path: format!("/function/{}", function.name),
            domains: domains::has(function).to_vec(),
            updated_at: function.updated_at,
        }
    }

    fn canary_summary(
        &self,
        canary: &Canary,
        function: &Function,
        route: Option<&Route>,
        observed: Option<&Observed>,
    ) -> CanarySummary {
        let way = route.and_then(|route| route.canary.as_ref());
        let (calls, failed) = calls(way.map(|way| &*way.route));
        let seen = observed.and_then(|observed| observed.canary.as_ref());
        let ready = count(observed, InstanceState::Ready, |revision| {
            revision == canary.revision.digest
        });
        let [_, fleet] = FleetName::both(&function.name);
        CanarySummary {
            revision: canary.revision.digest.clone(),
            revision_number: canary.number,
            share: canary.share,
            auth: canary.revision.settings.auth.clone(),
            rate: canary.revision.settings.rate.clone(),
            state: seen.map_or(FunctionState::Failing, |seen| seen.state),
            replicas: self
                .scalers
                .wanted(&fleet)
                .filter(|_| ready > 0)
                .unwrap_or(canary.replicas),
            ready,
            calls,
            failed,
            last_end: seen.and_then(|seen| seen.last_end.clone()),
        }
    }

    /// How many replicas it is to have: what load asks for while it is awake, else what it begins
    /// with when it is called.
    fn replicas(&self, function: &Function, ready: u32) -> u32 {
        // One that was stopped a moment ago follows nothing any more.
        let now = self
            .scalers
            .wanted(&FleetName::stable(&function.name))
            .filter(|_| ready > 0);
        now.unwrap_or_else(|| function.revision.settings.scaling().fit(function.replicas))
    }
}

/// Calls so far, and those of them that failed.
fn calls(route: Option<&Route>) -> (u64, u64) {
    route.map_or((0, 0), |route| route.counters.totals())
}

/// Replicas that stand so, of these revisions.
fn count(observed: Option<&Observed>, state: InstanceState, of: impl Fn(&str) -> bool) -> u32 {
    let instances = observed.map_or(&[][..], |observed| &observed.instances);
    let those = instances
        .iter()
        .filter(|instance| instance.state == state && of(&instance.revision));
    u32::try_from(those.count()).unwrap_or(u32::MAX)
}
