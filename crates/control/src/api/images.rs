use std::{collections::BTreeMap, sync::Arc};

use axum::{Json, body::Body, extract::State, response::Response};
use hob_image::{ImageRef, Origin, Pruning, Tagged};
use hob_model::{
    FunctionName, Run,
    wire::{DeployEvent, ImageDeploy, ImageSummary, PruneSummary},
};
use http::StatusCode;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    audit::about,
    error::ApiError,
    refusals::{Bad, Conflict, Missing, TooLarge},
    request::{Asked, Beside, NamedFunction, read_body},
    stream,
};
use crate::{
    Control,
    control::blocking,
    deploy::{Order, Precondition},
    events,
    images::PruneError,
    origin::Origin as Made,
};

/// Largest body that asks for an image, in bytes.
const DEPLOY_BODY: usize = 1 << 20;

/// Which image is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Named {
    /// Its name.
    #[param(min_length = 1)]
    image: String,
}

/// What to take away.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    #[serde(default)]
    #[param(inline)]
    which: Needless,
}

/// What no function needs.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Needless {
    /// What no name leads to.
    #[default]
    Unreachable,
    /// Also names of images that a registry has.
    Pulled,
    /// Also names of images that were built here, loaded or pushed.
    All,
}

/// Deploys an image.
///
/// Answers with the events of the deploy, as for a folder.
#[utoipa::path(put, path = "/hob/v1/functions/{name}/image", tag = "images",
    params(NamedFunction, Beside), request_body = ImageDeploy,
    responses((status = 200, body = DeployEvent, content_type = stream::NDJSON), Bad, TooLarge))]
pub(super) async fn deploy(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Asked(Beside { canary }): Asked<Beside>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read_body(body, DEPLOY_BODY, "the deploy").await?;
    let mut asked: ImageDeploy =
        serde_json::from_slice(&body).map_err(|error| ApiError::Bad(error.to_string()))?;
    parse(&asked.image)?;
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
    let order = Order {
        origin,
        precondition: Precondition::Any,
        canary,
    };
    tokio::spawn(control.deploy(name, order, events));
    Ok(stream::events(reader))
}

/// The images on this machine.
#[utoipa::path(get, path = "/hob/v1/images", tag = "images",
    responses((status = 200, body = [ImageSummary])))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
) -> Result<Json<Vec<ImageSummary>>, ApiError> {
    let mut users: BTreeMap<String, Vec<FunctionName>> = BTreeMap::new();
    for function in control.deployed.all().iter() {
        for revision in function.revisions() {
            if let Run::Image(run) = &revision.run {
                let of_manifest = users.entry(run.manifest.clone()).or_default();
                of_manifest.push(function.name.clone());
            }
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

/// Forgets the name of an image.
#[utoipa::path(delete, path = "/hob/v1/images", tag = "images", params(Named),
    responses((status = 204), Bad, Missing))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(Named { image }): Asked<Named>,
) -> Result<StatusCode, ApiError> {
    about(&image);
    let name = parse(&image)?;
    let store = Arc::clone(&control.images.store);
    let (gone, asked) = blocking(&control.config.runtime, move || (store.untag(&name), name)).await;
    match gone? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(hob_image::ImageError::NotHere(asked).into()),
    }
}

/// Frees the disk of what no function needs.
#[utoipa::path(post, path = "/hob/v1/images/prune", tag = "images", params(Which),
    responses((status = 200, body = PruneSummary), Bad, Conflict))]
pub(super) async fn prune(
    State(control): State<Arc<Control>>,
    Asked(Which { which }): Asked<Which>,
) -> Result<Json<PruneSummary>, ApiError> {
    let pruning = match which {
        Needless::Unreachable => Pruning::Unreachable,
        Needless::Pulled => Pruning::Pulled,
        Needless::All => Pruning::All,
    };
    let pruned = control
        .prune_images(pruning)
        .await
        .map_err(|error| match error {
            PruneError::Engine(error) => ApiError::Engine(error),
            PruneError::Image(error) => ApiError::Image(error),
            PruneError::Store(error) => ApiError::Store(error),
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
