use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use hob_model::{
    FunctionName,
    openfaas::{DeleteFunction, FunctionDeployment, FunctionStatus, MaybeNamespace},
    port::EngineError,
    wire::Fault,
};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{
    super::{
        audit::about,
        error::ApiError,
        refusals::{Bad, Conflict, Missing, TooLarge},
        request::{Asked, NamedFunction, Segment},
    },
    InQuery, existing, meant, named, read,
    status::{Decoration, coming, decorate},
};
use crate::{
    Control,
    deploy::{DeployError, Order, Precondition},
    ending::Ending,
    events::{self, blamed},
    origin::Origin,
};

/// How long a client waits for its deploy; the most impatient give up after 30 s. It goes on after
/// that, and the function is shown meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
/// How OpenFaaS's command line calls itself.
const FAAS_CLI: &str = "faas-cli/";

/// What a query may say about one function; other keys are passed by.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct OfOne {
    /// Else the default one.
    #[param(value_type = Option<MaybeNamespace>)]
    namespace: Option<String>,
    /// `1` or `true` asks for what it uses.
    usage: Option<String>,
}

/// The functions of a namespace.
#[utoipa::path(get, path = "/system/functions", tag = "system-functions", params(InQuery),
    responses((status = 200, body = [FunctionStatus]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    headers: HeaderMap,
) -> Result<Json<Vec<FunctionStatus>>, ApiError> {
    let namespace = existing(&control, None, query.namespace.as_deref()).await?;
    // Before the others: what is no longer on its way is there by then.
    let new = control.coming.in_namespace(namespace.as_str());
    let observed = control.observed().await?;
    let deployed = control.deployed.all();
    let here = deployed
        .iter()
        .filter(|function| function.name.namespace() == namespace.as_str());
    let mut statuses: Vec<_> = here
        .map(|function| control.openfaas_status(function, observed.get(&function.name)))
        .collect();
    let new = new
        .into_iter()
        .filter(|(name, _)| !deployed.iter().any(|function| function.name == *name));
    statuses.extend(new.map(|(name, one)| coming(&name, &one)));
    // It compares what it gets with what it has, word for word.
    let agent = headers.get(header::USER_AGENT);
    if !agent.is_some_and(|agent| agent.as_bytes().starts_with(FAAS_CLI.as_bytes())) {
        for status in &mut statuses {
            decorate(status, Decoration::One);
        }
    }
    Ok(Json(statuses))
}

/// One function, also while its first deploy goes on.
#[utoipa::path(get, path = "/system/function/{name}", tag = "system-functions",
    params(NamedFunction, OfOne),
    responses((status = 200, body = FunctionStatus), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
    Asked(query): Asked<OfOne>,
) -> Result<Json<FunctionStatus>, ApiError> {
    let namespace = meant(None, query.namespace.as_deref())?;
    // Clients look for a 404 and for nothing else.
    let name = named(&name, namespace).map_err(|_| ApiError::NoSuchName(name))?;
    // Before the other: what is no longer on its way is there by then.
    let on_its_way = control.coming.get(&name);
    let mut status = match control.deployed.get(&name) {
        Some(function) => {
            let observed = control.observed().await?;
            let observed = observed.get(&name);
            let mut status = control.openfaas_status(&function, observed);
            let wanted = query.usage.as_deref();
            if wanted.is_some_and(|text| ["1", "true"].contains(&text)) {
                status.usage = Some(control.usage.look(observed));
            }
            status
        }
        None => match on_its_way {
            Some(one) => coming(&name, &one),
            None => return Err(ApiError::NoFunction(name)),
        },
    };
    let decoration = match query.namespace {
        Some(_) => Decoration::One,
        None => Decoration::Three,
    };
    decorate(&mut status, decoration);
    Ok(Json(status))
}

/// Deploys a new function.
///
/// Answers when it takes calls, or after 20 s: it goes on then, and is shown meanwhile.
#[utoipa::path(post, path = "/system/functions", tag = "system-functions", params(InQuery),
    request_body = FunctionDeployment,
    responses((status = 202), Bad, Missing, Conflict, TooLarge))]
pub(super) async fn create(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<Response, ApiError> {
    let (name, asked) = wanted(&control, &query, body).await?;
    if control.deployed.get(&name).is_some() {
        return Err(ApiError::Exists(name));
    }
    bring_up(control, name, asked, Precondition::New).await
}

/// Deploys a function anew.
///
/// Answers when it takes calls, or after 20 s: it goes on then, and is shown meanwhile.
#[utoipa::path(put, path = "/system/functions", tag = "system-functions", params(InQuery),
    request_body = FunctionDeployment,
    responses((status = 202), Bad, Missing, Conflict, TooLarge))]
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<Response, ApiError> {
    let (name, asked) = wanted(&control, &query, body).await?;
    if control.coming.get(&name).is_none() {
        control.function(&name)?;
    }
    bring_up(control, name, asked, Precondition::Exists).await
}

/// Removes a function for good.
#[utoipa::path(delete, path = "/system/functions", tag = "system-functions", params(InQuery),
    request_body = DeleteFunction,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked: DeleteFunction = read(body).await?;
    let namespace = meant(asked.namespace.as_deref(), query.namespace.as_deref())?;
    let name = named(&asked.function_name, namespace)?;
    about(&name);
    if control.coming.get(&name).is_some() {
        // It is removed as soon as it is there.
        drop(control.deploys.take(&name).await);
    }
    control.remove(name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Waits for the deploy, so that whoever asked learns how it went, but not for ever.
async fn bring_up(
    control: Arc<Control>,
    name: FunctionName,
    asked: FunctionDeployment,
    precondition: Precondition,
) -> Result<Response, ApiError> {
    let (events, _) = events::channel();
    let ending = Ending::default();
    let told = ending.clone();
    let work = async move {
        let _coming = control.coming.add(&name, &asked);
        let order = Order {
            origin: Origin::Asked(Box::new(asked)),
            precondition,
            canary: None,
        };
        let deployed = control.try_deploy(name.clone(), order, &events).await;
        deployed.map(drop).inspect_err(|error| {
            tracing::warn!("function `{name}` was not deployed: {error}");
        })
    };
    let deploy = tokio::spawn(async move {
        // A task of its own, so that even a panic is told of, however late.
        let deployed = tokio::spawn(work).await;
        told.tell(match &deployed {
            Ok(Ok(())) => StatusCode::ACCEPTED,
            Ok(Err(error)) => blamed(error.fault()),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        });
        deployed
    });
    match timeout(PATIENCE, deploy).await {
        Ok(Ok(Ok(deployed))) => deployed.map(|()| StatusCode::ACCEPTED.into_response()),
        Ok(_) => return Err(ApiError::Panic),
        // On its way.
        Err(_) => Ok((Extension(ending), StatusCode::ACCEPTED).into_response()),
    }
    .map_err(ApiError::from)
}

async fn wanted(
    control: &Control,
    query: &InQuery,
    body: Body,
) -> Result<(FunctionName, FunctionDeployment), ApiError> {
    let asked: FunctionDeployment = read(body).await?;
    for (value, key) in [(&asked.service, "service"), (&asked.image, "image")] {
        if value.is_empty() {
            let text = format!("validation failed: {key}: is required");
            return Err(ApiError::Bad(text));
        }
    }
    let service = asked.service.parse().map_err(|_| {
        ApiError::Bad(format!(
            "validation failed: service: ({}) is invalid, must be a valid DNS entry",
            asked.service
        ))
    })?;
    let said = (asked.namespace.as_deref(), query.namespace.as_deref());
    let namespace = existing(control, said.0, said.1).await?;
    let name = FunctionName::new(service, namespace);
    about(&name);
    Ok((name, asked))
}

impl From<DeployError> for ApiError {
    fn from(error: DeployError) -> Self {
        let fault = error.fault();
        match error {
            DeployError::Exists(name) => Self::Exists(name),
            DeployError::Missing(name) => Self::NoFunction(name),
            error @ (DeployError::DomainTaken { .. } | DeployError::OwnHost(_)) => {
                Self::Taken(error.to_string())
            }
            error => {
                let mut message = error.to_string();
                if let DeployError::Engine(EngineError::Start { log_tail, .. }) = &error
                    && let Some(line) = log_tail.last()
                {
                    message = format!("{message} (its last words: {line})");
                }
                match fault {
                    Fault::Caller => Self::Bad(message),
                    Fault::Host => Self::Deploy(message),
                }
            }
        }
    }
}
