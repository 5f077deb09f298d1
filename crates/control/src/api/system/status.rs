//! A function as the clients of OpenFaaS see it.

use std::{collections::BTreeMap, time::SystemTime};

use hob_model::{
    Function, FunctionName, Run, Settings,
    openfaas::{FunctionDeployment, FunctionStatus},
    port::Observed,
};

use crate::{Control, coming::Coming, origin::image_name};

/// The label by which clients know a function.
const FUNCTION_LABEL: &str = "faas_function";
/// The labels that others expect in its place.
const OTHER_LABELS: [&str; 2] = ["com.openfaas.function", "function"];
/// And that of its revision.
const UID_LABEL: &str = "uid";

/// Which labels an answer has besides those that were sent. Clients do not agree: some want one,
/// others count them. They are in the answer only, never in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoration {
    /// `faas_function`.
    One,
    /// The three of older versions.
    Three,
}

/// Adds labels, but never in place of one that was sent.
pub(super) fn decorate(status: &mut FunctionStatus, decoration: Decoration) {
    let name = status.name.clone();
    let mut add = |key: &str, value: &str| {
        let labels = &mut status.labels;
        labels.entry(key.into()).or_insert_with(|| value.into());
    };
    match decoration {
        Decoration::One => add(FUNCTION_LABEL, &name),
        Decoration::Three => {
            OTHER_LABELS.iter().for_each(|key| add(key, &name));
            // Theirs is a number that nobody looks at.
            add(UID_LABEL, "1");
        }
    }
}

/// A function whose first deploy is under way.
pub(super) fn coming(name: &FunctionName, coming: &Coming) -> FunctionStatus {
    let labels = coming.asked.labels.clone().unwrap_or_default();
    let settings = Settings {
        labels: labels.clone(),
        ..Settings::default()
    };
    FunctionStatus {
        image: coming.asked.image.clone(),
        labels,
        annotations: coming.asked.annotations.clone().unwrap_or_default(),
        replicas: settings.scaling().fit(1),
        created_at: coming.since,
        ..echo(name, coming.asked.clone())
    }
}

impl Control {
    pub(super) fn openfaas_status(
        &self,
        function: &Function,
        observed: Option<&Observed>,
    ) -> FunctionStatus {
        let summary = self.summary(function, observed);
        let settings = &function.revision.settings;
        let sent = settings.openfaas.as_deref();
        // Where no client has sent anything, the folder's own words are shown.
        let asked = sent.cloned().unwrap_or_else(|| FunctionDeployment {
            env_vars: Some(settings.env.clone()),
            secrets: Some(settings.secrets.iter().map(ToString::to_string).collect()),
            ..FunctionDeployment::default()
        });
        let (replicas, available_replicas) = match function.revision.run {
            // Files need none, and are always there.
            Run::Static { .. } => (1, 1),
            _ => {
                // A frozen one answers within milliseconds: clients that wait for replicas, or wake
                // a function that has none, have nothing to do.
                let available = summary.ready + summary.frozen;
                // One that sleeps for good may have been woken by a call.
                (summary.replicas.max(available), available)
            }
        };
        FunctionStatus {
            image: image_name(function),
            labels: settings.labels.clone(),
            annotations: settings.annotations.clone(),
            #[expect(clippy::cast_precision_loss, reason = "the API has a float here")]
            invocation_count: summary.calls as f64,
            replicas,
            available_replicas,
            created_at: function.created_at,
            ..echo(&function.name, asked)
        }
    }
}

/// What was sent, as it was sent; what is empty counts as left out.
fn echo(name: &FunctionName, asked: FunctionDeployment) -> FunctionStatus {
    FunctionStatus {
        name: name.name().to_owned(),
        namespace: name.namespace().to_owned(),
        image: String::new(),
        env_process: asked.env_process.filter(|text| !text.is_empty()),
        env_vars: asked.env_vars.filter(|map| !map.is_empty()),
        constraints: asked.constraints.filter(|list| !list.is_empty()),
        secrets: asked.secrets.filter(|list| !list.is_empty()),
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        limits: asked.limits,
        requests: asked.requests,
        read_only_root_filesystem: asked.read_only_root_filesystem,
        invocation_count: 0.0,
        replicas: 0,
        available_replicas: 0,
        created_at: SystemTime::UNIX_EPOCH,
        usage: None,
    }
}
