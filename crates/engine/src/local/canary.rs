//! A canary: a second fleet of a function, which a share of the calls goes to.

use std::sync::Arc;

use hob_model::{Canary, CanaryRoute, port::EngineError};

use super::{
    fleet::Fleet,
    fleets::{Fleets, Turn},
    plan::Plan,
    retire::{Farewell, see_off},
};

impl Fleets {
    /// The canary of the function, if it is what `plan` says and the function's own fleet is not.
    pub(super) fn promotable(&self, turn: &Turn, plan: &Plan) -> Option<Arc<Fleet>> {
        let canary = self.canary(&turn.fleet)?;
        (!turn.fleet.answers_with(plan) && canary.answers_with(plan)).then_some(canary)
    }

    /// Gives all calls to `canary`, the replicas that it has included; those that had them before
    /// are drained. On failure nothing has changed. Nobody else holds the turn.
    pub(super) async fn promote(
        &self,
        turn: &Turn,
        canary: &Arc<Fleet>,
        plan: Arc<Plan>,
        replicas: u32,
    ) -> Result<(), EngineError> {
        if replicas > 0 {
            // Those that its own load has needed stay: more calls come now, not fewer.
            let wanted = canary.state().wanted;
            canary.scale(replicas.max(wanted)).await?;
        }
        self.set_stable(canary);
        {
            let mut state = canary.state();
            canary.open(&plan);
            state.plan = Some(plan);
        }
        turn.fleet.retire();
        Ok(())
    }

    /// Has a revision answer a share of the calls, in place of the canary that there was. On
    /// failure all is as it was. Nobody else holds the turn.
    pub(super) async fn run_canary(
        &self,
        turn: &Turn,
        plan: Arc<Plan>,
        wanted: &Canary,
    ) -> Result<(), EngineError> {
        let former = self.canary(&turn.fleet);
        let fleet = former.unwrap_or_else(|| Fleet::new(&turn.fleet.shared));
        fleet.roll_out(Arc::clone(&plan), wanted.replicas).await?;
        let routes = &self.host.routes;
        let route = routes.get(&fleet.name);
        match route.and_then(|route| route.canary.clone()) {
            Some(shown) if shown.share == wanted.share => {}
            // The same revision: its calls are still counted together.
            Some(shown) => {
                let (share, route) = (wanted.share, Arc::clone(&shown.route));
                routes.set_canary(&fleet.name, Some(CanaryRoute { share, route }));
            }
            None => fleet.open(&plan),
        }
        self.set_canary(&turn.fleet, Some(fleet));
        Ok(())
    }

    /// Gives all calls back to the function's own fleet, if it has a canary.
    pub(super) fn end_canary(&self, turn: &Turn) {
        if let Some(canary) = self.set_canary(&turn.fleet, None) {
            self.host.routes.set_canary(&canary.name, None);
            canary.retire();
        }
    }
}

impl Fleet {
    /// Takes no new calls, for good; its replicas finish those that they have.
    fn retire(self: &Arc<Self>) {
        let mut state = self.state();
        state.call_off();
        state.plan = None;
        state.wanted = 0;
        let leaving = state.drain_all_but(0);
        self.publish(&state);
        for one in leaving {
            see_off(self, one, Farewell::Gentle);
        }
    }
}
