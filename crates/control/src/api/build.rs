use std::{fmt::Display, sync::Arc};

use axum::{body::Body, extract::State, response::Response};
use hob_image::{ImageOrder, ImageRef, Platform};
use hob_model::{FunctionName, port::Packing};
use http::HeaderMap;
use serde::Deserialize;

use super::{
    error::ApiError,
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
#[derive(Deserialize)]
pub(super) struct Order {
    /// Name of the image.
    image: ImageRef,
    /// Name of the function, for its caches and its title; else the image's own.
    name: Option<FunctionName>,
    /// Platforms, separated by commas; else the server's own.
    platform: Option<String>,
    /// What it stands on, in place of what the folder says.
    base: Option<ImageRef>,
    /// Whether it is sent to its registry as well.
    #[serde(default)]
    push: bool,
}

/// Takes a folder and answers with the events of its build. Mistakes of the request itself are
/// plain errors, told before the folder is sent; then the last event says how it went.
pub(super) async fn start(
    State(control): State<Arc<Control>>,
    Asked(order): Asked<Order>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let name = order.function()?;
    let order = order.build()?;
    let archive = upload::receive(&control, &name, &headers, body).await?;
    let (events, reader) = events::channel();
    let packing = Packing::Folder;
    let folder = PackedFolder { archive, packing };
    tokio::spawn(control.build_image(name, ImageSource::Folder(folder), order, events));
    Ok(stream::events(reader))
}

/// The same of a function that is deployed.
pub(super) async fn export(
    State(control): State<Arc<Control>>,
    NamedFunction(name): NamedFunction,
    Asked(order): Asked<Order>,
) -> Result<Response, ApiError> {
    let function = control.function(&name)?;
    let order = order.build()?;
    let (events, reader) = events::channel();
    tokio::spawn(control.build_image(name, ImageSource::Deployed(function), order, events));
    Ok(stream::events(reader))
}

// === impl Order ===

impl Order {
    fn build(self) -> Result<ImageOrder, ApiError> {
        Ok(ImageOrder {
            platforms: self.platforms()?,
            image: self.image,
            base: self.base,
            push: self.push,
            dockerfile: None,
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
