//! `/system`: what the clients of OpenFaaS call, status code for status code.

use std::{sync::Arc, time::Duration};

use axum::{Json, body::Body, extract::State};
use hob_model::{
    DEFAULT_NAMESPACE, Function, FunctionName, Manifest, Memory, Network, Run, SecretName,
    Timespan,
    openfaas::{DeleteFunction, FunctionDeployment, FunctionStatus},
    port::Observed,
    wire::{DeployEvent, Fault, ImageDeploy},
};
use http::StatusCode;
use serde::Deserialize;
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{
    error::ApiError,
    refusals::{Bad, Conflict, Missing, TooLarge},
    request::{Asked, NamedFunction, Namespace, NamespaceKey, read_body},
};
use crate::{Control, deploy, events};

/// Largest request, in bytes; annotations can be long.
const BODY: usize = 1 << 20;
/// How long a client waits for its deploy; the usual ones give up after 60 s. It goes on after.
const PATIENCE: Duration = Duration::from_secs(50);
/// Least memory of a function: what a watchdog written in Go needs.
const LEAST_MEMORY: Memory = Memory(8 << 20);
/// What the old field `network` says for none.
const NO_NETWORK: &str = "none";
/// Variables of the watchdog from which the function's one timeout comes.
const TIMEOUTS: [&str; 3] = ["exec_timeout", "write_timeout", "read_timeout"];

/// Where some clients say which namespace they mean.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct InQuery {
    /// The namespace, where the body does not say it.
    namespace: Option<String>,
}

/// The functions of a namespace.
#[utoipa::path(get, path = "/system/functions", tag = "system", params(NamespaceKey),
    responses((status = 200, body = [FunctionStatus]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Namespace(namespace): Namespace,
) -> Result<Json<Vec<FunctionStatus>>, ApiError> {
    let observed = control.observed().await?;
    let functions = control.deployed.all();
    let asked = functions
        .iter()
        .filter(|function| function.name.namespace() == namespace.as_str());
    let statuses = asked.map(|function| control.status(function, observed.get(&function.name)));
    Ok(Json(statuses.collect()))
}

/// One function.
#[utoipa::path(get, path = "/system/function/{name}", tag = "system",
    params(NamedFunction, NamespaceKey),
    responses((status = 200, body = FunctionStatus), Bad, Missing))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Namespace(namespace): Namespace,
) -> Result<Json<FunctionStatus>, ApiError> {
    let name = placed(&name, &namespace);
    let function = control.function(&name)?;
    let observed = control.observed().await?;
    Ok(Json(control.status(&function, observed.get(&name))))
}

/// Deploys a new function from an image.
#[utoipa::path(post, path = "/system/functions", tag = "system", request_body = FunctionDeployment,
    responses((status = 202), Bad, Conflict, TooLarge))]
pub(super) async fn create(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let (name, asked) = read(body).await?;
    if control.deployed.get(&name).is_some() {
        return Err(ApiError::Exists(name));
    }
    bring_up(control, name, asked).await
}

/// Deploys a function that exists from an image.
#[utoipa::path(put, path = "/system/functions", tag = "system", request_body = FunctionDeployment,
    responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn update(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let (name, asked) = read(body).await?;
    control.function(&name)?;
    bring_up(control, name, asked).await
}

/// Removes a function.
#[utoipa::path(delete, path = "/system/functions", tag = "system", params(InQuery),
    request_body = DeleteFunction, responses((status = 202), Bad, Missing, TooLarge))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let body = read_body(body, BODY, "the request").await?;
    let asked: DeleteFunction = serde_json::from_slice(&body).map_err(unreadable)?;
    let namespace = asked.namespace.filter(|name| !name.is_empty());
    let name = name(
        &asked.function_name,
        namespace.or(query.namespace).as_deref(),
    )?;
    control.remove(name).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Waits for the deploy, so that whoever asked learns how it went, but not for ever.
async fn bring_up(
    control: Arc<Control>,
    name: FunctionName,
    asked: FunctionDeployment,
) -> Result<StatusCode, ApiError> {
    let origin = deploy::Origin::Image(Box::new(translate(asked)?));
    let (events, mut reader) = events::channel();
    tokio::spawn(control.deploy(name, origin, events));
    let last = async {
        let mut last = None;
        let mut said = Vec::new();
        while let Some(event) = reader.next().await {
            match event {
                DeployEvent::Output { text } => said.push(text),
                other => last = Some(other),
            }
        }
        (last, said)
    };
    match timeout(PATIENCE, last).await {
        Ok((Some(DeployEvent::Failed { message, fault }), said)) => {
            let said = said.last().map(|line| format!(" (its last words: {line})"));
            let message = format!("{message}{}", said.unwrap_or_default());
            Err(match fault {
                Fault::Caller => ApiError::Bad(message),
                Fault::Host => ApiError::Deploy(message),
            })
        }
        // Done, or still on its way.
        Ok(_) | Err(_) => Ok(StatusCode::ACCEPTED),
    }
}

async fn read(body: Body) -> Result<(FunctionName, FunctionDeployment), ApiError> {
    let body = read_body(body, BODY, "the request").await?;
    let asked: FunctionDeployment = serde_json::from_slice(&body).map_err(unreadable)?;
    if asked.service.is_empty() {
        return Err(ApiError::Bad(
            "validation failed: service: is required".into(),
        ));
    }
    if asked.image.is_empty() {
        return Err(ApiError::Bad(
            "validation failed: image: is required".into(),
        ));
    }
    let namespace = asked.namespace.as_deref().filter(|name| !name.is_empty());
    Ok((name(&asked.service, namespace)?, asked))
}

fn name(service: &str, namespace: Option<&str>) -> Result<FunctionName, ApiError> {
    let namespace = namespace.unwrap_or(DEFAULT_NAMESPACE);
    let namespace = namespace
        .parse()
        .map_err(|_| ApiError::Bad(format!("namespace not valid: `{namespace}`")))?;
    let service = service.parse().map_err(|_| {
        ApiError::Bad(format!(
            "validation failed: service: ({service}) is invalid, must be a valid DNS entry"
        ))
    })?;
    Ok(FunctionName::new(service, namespace))
}

/// A namespace in the query counts where the name has none.
fn placed(name: &FunctionName, namespace: &hob_model::Label) -> FunctionName {
    if name.namespace() != DEFAULT_NAMESPACE {
        return name.clone();
    }
    let own = name.name().parse();
    own.map_or_else(
        |_| name.clone(),
        |own| FunctionName::new(own, namespace.clone()),
    )
}

/// From what OpenFaaS's clients say to what hob's settings are.
fn translate(asked: FunctionDeployment) -> Result<ImageDeploy, ApiError> {
    let bad = |error: &dyn std::fmt::Display| ApiError::Bad(format!("validation failed: {error}"));
    let mut manifest = Manifest {
        env: asked.env_vars.clone().unwrap_or_default(),
        labels: asked.labels.clone().unwrap_or_default(),
        annotations: asked.annotations.clone().unwrap_or_default(),
        ..Manifest::default()
    };
    for secret in asked.secrets.iter().flatten() {
        let secret: SecretName = secret.parse().map_err(|error| bad(&error))?;
        manifest.secrets.push(secret);
    }
    if let Some(limits) = &asked.limits {
        if !limits.memory.is_empty() {
            let memory: Memory = limits.memory.parse().map_err(|error| bad(&error))?;
            manifest.limits.memory = memory.max(LEAST_MEMORY);
        }
        if !limits.cpu.is_empty() {
            manifest.limits.cpu = limits.cpu.parse().map_err(|error| bad(&error))?;
        }
    }
    if asked.network.as_deref() == Some(NO_NETWORK) {
        manifest.network = Network::None;
    }
    let timeouts = TIMEOUTS.iter().filter_map(|name| manifest.env.get(*name));
    manifest.timeout = timeouts
        .filter_map(|text| text.parse::<Timespan>().ok())
        .max();
    let manifest = manifest.completed().map_err(|error| bad(&error))?;
    Ok(ImageDeploy {
        image: asked.image.clone(),
        manifest,
        openfaas: Some(Box::new(asked)),
    })
}

fn unreadable(error: serde_json::Error) -> ApiError {
    ApiError::Bad(format!("failed to unmarshal request: {error}"))
}

impl Control {
    fn status(&self, function: &Function, observed: Option<&Observed>) -> FunctionStatus {
        let summary = self.summary(function, observed);
        let settings = &function.revision.settings;
        let asked = settings.openfaas.as_deref().cloned().unwrap_or_default();
        let env = settings.env.clone();
        let secrets = settings.secrets.iter().map(ToString::to_string);
        let secrets: Vec<String> = secrets.collect();
        FunctionStatus {
            name: function.name.name().to_owned(),
            image: match &function.revision.run {
                Run::Image(run) => run.image.clone(),
                _ => format!(
                    "hob.local/{}:{}",
                    function.name.name(),
                    function.revision.short()
                ),
            },
            namespace: function.name.namespace().to_owned(),
            env_process: asked.env_process,
            env_vars: asked.env_vars.or((!env.is_empty()).then_some(env)),
            constraints: asked.constraints,
            secrets: asked.secrets.or((!secrets.is_empty()).then_some(secrets)),
            labels: settings.labels.clone(),
            annotations: settings.annotations.clone(),
            limits: asked.limits,
            requests: asked.requests,
            read_only_root_filesystem: asked.read_only_root_filesystem,
            #[expect(clippy::cast_precision_loss, reason = "the API has a float here")]
            invocation_count: summary.calls as f64,
            replicas: summary.replicas,
            available_replicas: summary.ready,
            created_at: function.created_at,
        }
    }
}
