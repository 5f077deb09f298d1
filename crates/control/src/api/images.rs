use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, body::Body, extract::State, response::Response};
use hob_image::{ImageRef, Origin, Pruning, Tagged};
use hob_model::{
    FunctionName, Run,
    wire::{ImageDeploy, ImageSummary, PruneSummary},
};
use http::StatusCode;
use serde::Deserialize;

use super::{
    error::ApiError,
    request::{Asked, NamedFunction, read_body},
    stream,
};
use crate::{Control, control::blocking, events, images::PruneError, origin::Origin as Made};

/// Largest body that asks for an image, in bytes.
const DEPLOY_BODY: usize = 1 << 20;

/// Which image is meant.
#[derive(Deserialize)]
pub(super) struct Named {
    image: String,
}

/// What to take away.
#[derive(Deserialize)]
pub(super) struct Which {
    /// `unreachable`, the default, `pulled` or `all`.
    which: Option<String>,
}

/// Answers with the events of the deploy, as an upload does.
pub(super) async fn deploy(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(body, DEPLOY_BODY, "the deploy").await?;
    let mut asked: ImageDeploy =
        serde_json::from_slice(&body).map_err(|error| ApiError::Bad(error.to_string()))?;
    let origin = match asked.openfaas.take() {
        // What a client of OpenFaaS would send says it all.
        Some(deployment) => Made::Asked(deployment),
        None => {
            let manifest = asked.manifest.completed();
            asked.manifest = manifest.map_err(|error| ApiError::Bad(error.to_string()))?;
            Made::Image(Box::new(asked))
        }
    };
    let (events, reader) = events::channel();
    tokio::spawn(control.deploy(name, origin, events));
    Ok(stream::events(reader))
}

pub(super) async fn list(
    State(control): State<Arc<Control>>,
) -> Result<Json<Vec<ImageSummary>>, ApiError> {
    let mut users: BTreeMap<String, Vec<FunctionName>> = BTreeMap::new();
    for function in control.deployed.all().iter() {
        if let Run::Image(run) = &function.revision.run {
            let of_manifest = users.entry(run.manifest.clone()).or_default();
            of_manifest.push(function.name.clone());
        }
    }
    let store = Arc::clone(&control.images.store);
    let summaries = blocking(&control.config.runtime, move || {
        let names = store.names();
        let summary = |tagged: Tagged| {
            let contents = store.contents(&tagged.digest);
            let manifests = contents.manifests.iter().map(ToString::to_string);
            ImageSummary {
                functions: manifests
                    .filter_map(|manifest| users.get(&manifest))
                    .flatten()
                    .cloned()
                    .collect(),
                image: tagged.name.to_string(),
                digest: tagged.digest.to_string(),
                platforms: contents.platforms.iter().map(ToString::to_string).collect(),
                size: contents.size,
                pulled: tagged.origin == Origin::Pulled,
            }
        };
        names.into_iter().map(summary).collect()
    });
    Ok(Json(summaries.await))
}

pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(Named { image }): Asked<Named>,
) -> Result<StatusCode, ApiError> {
    let name = parse(&image)?;
    let store = Arc::clone(&control.images.store);
    let (gone, asked) = blocking(&control.config.runtime, move || (store.untag(&name), name)).await;
    match gone? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(hob_image::ImageError::NotHere(asked).into()),
    }
}

pub(super) async fn prune(
    State(control): State<Arc<Control>>,
    Asked(Which { which }): Asked<Which>,
) -> Result<Json<PruneSummary>, ApiError> {
    let pruning = match which.as_deref() {
        None | Some("unreachable") => Pruning::Unreachable,
        Some("pulled") => Pruning::Pulled,
        Some("all") => Pruning::All,
        Some(other) => {
            let text = format!("`which` is `{other}` and must be unreachable, pulled or all");
            return Err(ApiError::Bad(text));
        }
    };
    let pruned = control
        .prune_images(pruning)
        .await
        .map_err(|error| match error {
            PruneError::Engine(error) => ApiError::Engine(error),
            PruneError::Image(error) => ApiError::Image(error),
        })?;
    Ok(Json(PruneSummary {
        images: pruned.names.iter().map(ToString::to_string).collect(),
        bytes: pruned.bytes,
    }))
}

pub(super) fn parse(text: &str) -> Result<ImageRef, ApiError> {
    text.parse()
        .map_err(|error: hob_image::ReferenceError| ApiError::Bad(error.to_string()))
}
