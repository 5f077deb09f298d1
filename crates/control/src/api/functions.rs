use std::sync::Arc;

use axum::{Json, body::Body, extract::State};
use hob_model::{
    FleetName, Function, FunctionName, Run, Scale, Target,
    port::EngineError,
    wire::{FunctionDetail, FunctionSummary, ScaleRequest},
};
use http::StatusCode;

use super::{
    error::ApiError,
    refusals::{Bad, Conflict, Missing, TooLarge},
    request::{NamedFunction, read_body},
};
use crate::{Control, images::image_of};

/// Largest body of a scale request, in bytes.
const SCALE_BODY: usize = 1 << 10;

/// All functions.
#[utoipa::path(get, path = "/hob/v1/functions", tag = "functions",
    responses((status = 200, body = [FunctionSummary])))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
) -> Result<Json<Vec<FunctionSummary>>, ApiError> {
    let observed = control.observed().await?;
    let functions = control.deployed.all();
    let summaries = functions
        .iter()
        .map(|function| control.summary(function, observed.get(&function.name)));
    Ok(Json(summaries.collect()))
}

/// One function with its settings and replicas.
#[utoipa::path(get, path = "/hob/v1/functions/{name}", tag = "functions", params(NamedFunction),
    responses((status = 200, body = FunctionDetail), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
) -> Result<Json<FunctionDetail>, ApiError> {
    let function = control.function(&name)?;
    let observed = control.observed().await?.remove(&name);
    let summary = control.summary(&function, observed.as_ref());
    let (instances, last_end) = match observed {
        Some(observed) => (observed.instances, observed.last_end),
        None => (Vec::new(), None),
    };
    Ok(Json(FunctionDetail {
        summary,
        problem: control.loss(&name),
        image: image_of(&function.revision.run),
        created_at: function.created_at,
        settings: function.revision.settings.clone(),
        schedules: control.schedules(Some(&name)),
        instances,
        last_end,
    }))
}

/// Removes a function for good.
#[utoipa::path(delete, path = "/hob/v1/functions/{name}", tag = "functions", params(NamedFunction),
    responses((status = 204), Bad, Missing))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
) -> Result<StatusCode, ApiError> {
    control.remove(name).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl Control {
    /// Ends a function for good; its name is free on return.
    pub(super) async fn remove(&self, name: FunctionName) -> Result<(), ApiError> {
        let _change = self.changes.take(&name).await;
        let function = self.function(&name)?;
        self.let_go(&function);
        match self.engine.remove(&name).await {
            Ok(()) => {}
            // It could not be restored.
            Err(EngineError::NotFound(_)) => {
                self.routes.remove(&name);
                self.found(&name);
            }
            Err(error) => return Err(error.into()),
        }
        let gone = name.clone();
        if let Err(error) = self.stored(move |store| store.remove_function(&gone)).await {
            self.undo(&function.asleep()).await;
            return Err(error.into());
        }
        self.deployed.remove(&name);
        self.metrics.wakings.forget(&name);
        self.bundles.look();
        self.reschedule(&name, &[]).await;
        self.wakes.forgive(&name);
        Ok(())
    }
}

/// Changes how many replicas a function has at least while it is awake.
#[utoipa::path(post, path = "/hob/v1/functions/{name}/scale", tag = "functions",
    params(NamedFunction), request_body = ScaleRequest,
    responses((status = 200, body = FunctionSummary), Bad, Missing, Conflict, TooLarge))]
pub(super) async fn scale(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    body: Body,
) -> Result<Json<FunctionSummary>, ApiError> {
    let body = read_body(body, SCALE_BODY, "the scale request").await?;
    let request: ScaleRequest = serde_json::from_slice(&body)
        .map_err(|error| ApiError::Bad(format!("write {{\"replicas\": 2}}: {error}")))?;
    let function = control.scale_to(&name, request.replicas.into()).await?;
    let observed = control.observed().await?;
    Ok(Json(control.summary(&function, observed.get(&name))))
}

impl Control {
    /// Gives a function so many replicas, within its settings, here and on the disk. Load may make
    /// them more.
    pub(super) async fn scale_to(
        &self,
        name: &FunctionName,
        replicas: u64,
    ) -> Result<Arc<Function>, ApiError> {
        self.scale_by(name, |_| replicas).await
    }

    /// The same for a number that depends on what the function is at that moment.
    pub(super) async fn scale_by(
        &self,
        name: &FunctionName,
        replicas: impl Fn(&Function) -> u64 + Send,
    ) -> Result<Arc<Function>, ApiError> {
        let _change = self.changes.take(name).await;
        let function = self.function(name)?;
        let replicas = replicas(&function);
        let allowed = u32::try_from(replicas).ok();
        let Some(replicas) = allowed.filter(|replicas| *replicas <= Scale::MOST_REPLICAS) else {
            return Err(ApiError::Bad(format!(
                "replicas must be 0 to {}, not {replicas}",
                Scale::MOST_REPLICAS
            )));
        };
        if matches!(function.revision.run, Run::Static { .. }) {
            let text = format!("function `{name}` is a folder of files and has no replicas");
            return Err(ApiError::Bad(text));
        }
        self.wakes.forgive(name);
        let before = self.running(name);
        let next = function.with_replicas(replicas);
        let numbers = self.numbers(&next);
        for (fleet, number) in &numbers {
            self.engine.scale(fleet, *number).await?;
        }
        let (row, canary) = (name.clone(), next.canary.as_ref().map(|one| one.replicas));
        let stored = self.stored(move |store| store.set_replicas(&row, replicas, canary));
        if let Err(error) = stored.await {
            for (fleet, number) in before {
                if let Err(undo) = self.engine.scale(&fleet, number).await {
                    tracing::error!("function `{fleet}` could not be scaled back: {undo}");
                }
            }
            return Err(error.into());
        }
        let function = Arc::new(next);
        self.deployed.put(Arc::clone(&function));
        // Last, so that it outlives what load asked for meanwhile.
        for (fleet, number) in numbers {
            self.scalers.begin_anew(&fleet, number);
        }
        Ok(function)
    }

    /// How many replicas the fleets of a function are to have: those that somebody asked for, and
    /// more where their load needs them.
    fn numbers(&self, function: &Function) -> Vec<(FleetName, u32)> {
        let both = FleetName::both(&function.name).into_iter();
        let numbers = both.filter_map(|fleet| {
            let (revision, by_hand) = function.answering(fleet.track)?;
            let needed = self.scalers.needed(&fleet);
            let number = revision.settings.scaling().nearest(needed, by_hand);
            Some((fleet, if function.replicas == 0 { 0 } else { number }))
        });
        numbers.collect()
    }

    /// How many they have now, or are about to.
    fn running(&self, name: &FunctionName) -> Vec<(FleetName, u32)> {
        let both = FleetName::both(name).into_iter();
        let numbers = both.filter_map(|fleet| {
            let Target::Replicas(replicas) = &self.routes.of(&fleet)?.target else {
                return None;
            };
            let wanted = self.scalers.wanted(&fleet).unwrap_or(1);
            let number = if replicas.is_awake() { wanted } else { 0 };
            Some((fleet, number))
        });
        numbers.collect()
    }

    /// The function called `name`, or the 404 that says so.
    pub(super) fn function(&self, name: &FunctionName) -> Result<Arc<Function>, ApiError> {
        let function = self.deployed.get(name);
        function.ok_or_else(|| ApiError::NoFunction(name.clone()))
    }
}
