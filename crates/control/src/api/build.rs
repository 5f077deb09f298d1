use std::{fmt::Display, sync::Arc};

use axum::{Extension, body::Body, extract::State, response::Response};
use hob_image::{Dockerfiles, ImageOrder, ImageRef, Platform};
use hob_model::{FunctionName, Scope, port::Packing, wire::ImageEvent};
use http::HeaderMap;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    actor::Actor,
    audit::about,
    error::ApiError,
    refusals::{Bad, Missing, TooLarge, TooSlow},
    request::{Asked, NamedFunction},
    stream, upload,
};
use crate::{
    Control,
    build::{ImageSource, PackedFolder},
    events,
};

/// Bytes of a list of platforms.
const MAX_PLATFORMS: usize = 512;

/// What is asked for beside the folder.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Order {
    /// Name of the image.
    #[param(value_type = String, min_length = 1)]
    image: ImageRef,
    /// Name of the function, for its caches and its title; else the image's own.
    name: Option<FunctionName>,
    /// Platforms, separated by commas; else the server's own.
    platform: Option<String>,
    /// What it stands on, in place of what the folder says.
    #[param(value_type = Option<String>)]
    base: Option<ImageRef>,
    /// Whether it is sent to its registry as well.
    #[serde(default)]
    push: bool,
}

/// Builds an image of a folder: a gzip-compressed tar.
///
/// Answers with the events of the build, a line each. Mistakes of the request itself are plain
/// errors, told before the folder is sent; then the last event says how it went.
#[utoipa::path(post, path = "/hob/v1/images/build", tag = "images", params(Order),
    request_body(content_type = "application/octet-stream"),
    responses((status = 200, body = ImageEvent, content_type = stream::NDJSON), Bad, TooSlow, TooLarge))]
pub(super) async fn build(
    State(control): State<Arc<Control>>,
    Extension(actor): Extension<Actor>,
    Asked(order): Asked<Order>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = order.function()?;
    about(&order.image);
    let dockerfile = match actor.must(Scope::Admin) {
        Ok(()) => Dockerfiles::Allowed,
        Err(_) => Dockerfiles::Refused,
    };
    let order = order.build(dockerfile)?;
    let archive = upload::receive(&control, &name, &headers, body).await?;
    let (events, reader) = events::channel();
    let packing = Packing::Folder;
    let folder = PackedFolder { archive, packing };
    tokio::spawn(control.build_image(name, ImageSource::Folder(folder), order, events));
    Ok(stream::events(reader))
}

/// Builds an image of a function that is deployed.
///
/// Answers with the events of the build, as for a folder.
#[utoipa::path(post, path = "/hob/v1/functions/{name}/export", tag = "images",
    params(NamedFunction, Order),
    responses((status = 200, body = ImageEvent, content_type = stream::NDJSON), Bad, Missing))]
pub(super) async fn export(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Asked(order): Asked<Order>,
) -> Result<Response, ApiError> {
    about(&order.image);
    let function = control.function(&name)?;
    // There is none in a bundle.
    let order = order.build(Dockerfiles::Refused)?;
    let (events, reader) = events::channel();
    tokio::spawn(control.build_image(name, ImageSource::Deployed(function), order, events));
    Ok(stream::events(reader))
}

// === impl Order ===

impl Order {
    fn build(self, dockerfile: Dockerfiles) -> Result<ImageOrder, ApiError> {
        Ok(ImageOrder {
            platforms: self.platforms()?,
            image: self.image,
            base: self.base,
            push: self.push,
            dockerfile,
        })
    }

    fn function(&self) -> Result<FunctionName, ApiError> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        function_of(&self.image)
    }

    fn platforms(&self) -> Result<Vec<Platform>, ApiError> {
        let text = self.platform.as_deref().unwrap_or_default();
        read_platforms(text)
    }
}

/// The function that an image is called after.
pub(super) fn function_of(image: &ImageRef) -> Result<FunctionName, ApiError> {
    image.function_name().parse().map_err(bad)
}

/// Platforms separated by commas.
pub(super) fn read_platforms(text: &str) -> Result<Vec<Platform>, ApiError> {
    if text.len() > MAX_PLATFORMS {
        return Err(bad("these are too many platforms"));
    }
    let names = text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names.map(|name| name.parse().map_err(bad)).collect()
}

fn bad(error: impl Display) -> ApiError {
    ApiError::Bad(error.to_string())
}
