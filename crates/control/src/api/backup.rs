use std::sync::Arc;

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::header;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    Access,
    error::ApiError,
    outgoing,
    refusals::{Bad, Conflict},
    request::Asked,
};
use crate::{Control, backup::Contents};

/// A gzip-compressed tar.
const GZIP: &str = "application/gzip";

/// What a backup holds.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Whether the key to the secrets is in it. It never leaves over TCP: there this has to be
    /// `false`.
    #[serde(default = "yes")]
    #[param(default = true)]
    identity: bool,
    /// Whether images are in it: those that functions run, and those that no registry has.
    #[serde(default = "yes")]
    #[param(default = true)]
    images: bool,
}

fn yes() -> bool {
    true
}

/// All that must survive, for `hob restore`.
///
/// The database is in it as it was at one moment. When something goes wrong in the middle the
/// answer breaks off, so that nobody takes a part for the whole.
#[utoipa::path(get, path = "/hob/v1/backup", tag = "server", params(Wanted),
    responses((status = 200, content_type = GZIP), Bad, Conflict))]
pub(super) async fn download(
    State(control): State<Arc<Control>>,
    Extension(access): Extension<Access>,
    Asked(Wanted { identity, images }): Asked<Wanted>,
) -> Result<Response, ApiError> {
    if identity && access == Access::Remote {
        return Err(ApiError::IdentityStays);
    }
    let backup = control.begin_backup(Contents { identity, images }).await?;
    let body = outgoing::written("a backup", move |out| backup.write(out));
    let kind = [
        (header::CONTENT_TYPE, GZIP),
        (
            header::CONTENT_DISPOSITION,
            "attachment; filename=\"hob-backup.tar.gz\"",
        ),
    ];
    Ok((kind, body).into_response())
}
