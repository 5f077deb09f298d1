//! Replicas, as the engine sees them. Folders of files have none, and no values.

use std::{collections::HashMap, sync::Arc};

use hob_model::{
    Function, FunctionName, Run,
    openfaas::Load,
    port::Observed,
    wire::{InstanceState, InstanceState::*},
};
use prometheus::Error;

use super::family::{Family, Text, float};

/// Every state of a replica, with its label.
const STATES: [(InstanceState, &str); 4] = [
    (Starting, "starting"),
    (Ready, "ready"),
    (Frozen, "frozen"),
    (Draining, "draining"),
];

/// Writes all that there is on replicas.
pub(super) fn write(
    functions: &[Arc<Function>],
    observed: &HashMap<FunctionName, Observed>,
    text: &mut Text,
) -> Result<(), Error> {
    let mut running = Family::gauges(
        "gateway_service_count",
        "Replicas that take calls or are about to, frozen ones included; 0 while stopped.",
    );
    let mut ready = Family::gauges(
        "gateway_service_ready_count",
        "Replicas that take calls, frozen ones included; 0 while stopped.",
    );
    let mut least = Family::gauges(
        "gateway_service_min",
        "Fewest replicas that it has while it is awake, by its settings.",
    );
    let mut target = Family::gauges(
        "gateway_service_target_load",
        "Load of each replica, beyond which there are more.",
    );
    for function in functions {
        if matches!(function.revision.run, Run::Static { .. }) {
            continue;
        }
        let name = function.name.qualified();
        let labels = [("function_name", &*name)];
        let here = observed.get(&function.name);
        let count = |states: &[InstanceState]| here.map_or(0.0, |here| in_states(here, states));
        running.gauge(&labels, count(&[Starting, Ready, Frozen]));
        ready.gauge(&labels, count(&[Ready, Frozen]));
        let scaling = function.revision.settings.scaling();
        least.gauge(&labels, f64::from(scaling.least));
        if scaling.load != Load::Custom {
            let labels = [labels[0], ("scaling_type", scaling.load.as_str())];
            target.gauge(&labels, scaling.target);
        }
    }
    text.add(running)?;
    text.add(ready)?;
    text.add(least)?;
    text.add(target)?;
    let mut states = Family::gauges("hob_replicas", "Replicas of all functions, by state.");
    for (state, label) in STATES {
        let counts = observed.values().map(|here| in_states(here, &[state]));
        states.gauge(&[("state", label)], counts.sum());
    }
    text.add(states)
}

fn in_states(observed: &Observed, states: &[InstanceState]) -> f64 {
    let replicas = observed.instances.iter();
    float(
        replicas
            .filter(|replica| states.contains(&replica.state))
            .count() as u64,
    )
}
