use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
};
use hob_model::wire::CertificateSummary;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{error::ApiError, refusals::Missing};
use crate::Control;

/// The host named in the path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct Named {
    /// In lower case.
    host: String,
}

/// The certificates that callers by TLS are presented, and those that cannot be had; none without
/// TLS.
#[utoipa::path(get, path = "/hob/v1/certificates", tag = "server",
    responses((status = 200, body = [CertificateSummary])))]
pub(super) async fn list(State(control): State<Arc<Control>>) -> Json<Vec<CertificateSummary>> {
    let certificates = control.certificates.as_ref();
    Json(certificates.map(|all| all.list()).unwrap_or_default())
}

/// Asks the ACME server for a new certificate now, whatever failed before.
#[utoipa::path(post, path = "/hob/v1/certificates/{host}/renew", tag = "server", params(Named),
    responses((status = 202, body = CertificateSummary), Missing))]
pub(super) async fn renew(
    State(control): State<Arc<Control>>,
    Path(Named { host }): Path<Named>,
) -> Result<(StatusCode, Json<CertificateSummary>), ApiError> {
    let asked = match &control.certificates {
        Some(certificates) => certificates.renew(&host).await,
        None => None,
    };
    let asked = asked.ok_or(ApiError::NoCertificate(host))?;
    Ok((StatusCode::ACCEPTED, Json(asked)))
}
