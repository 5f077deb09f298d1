use std::{env::consts::ARCH, sync::Arc};

use axum::{Json, extract::State};
use hob_model::openfaas::{ProviderInfo, ServerInfo, Telemetry, VersionInfo};

use super::super::error::ApiError;
use crate::Control;

/// How hob calls itself to clients. Any other name than `faasd` has them do all that they can.
const PROVIDER: &str = "hob";
/// Its version.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What this server is.
#[utoipa::path(get, path = "/system/info", tag = "system-server",
    responses((status = 200, body = ServerInfo)))]
pub(super) async fn show() -> Json<ServerInfo> {
    let version = VersionInfo {
        release: RELEASE.into(),
        sha: "unknown".into(),
        commit_message: format!("hob {RELEASE}"),
    };
    Json(ServerInfo {
        provider: ProviderInfo {
            provider: PROVIDER.into(),
            version: version.clone(),
            orchestration: PROVIDER.into(),
        },
        version,
        arch: ARCH.into(),
    })
}

/// What is here, for who asks; nothing of it is ever sent anywhere.
#[utoipa::path(get, path = "/system/telemetry", tag = "system-server",
    responses((status = 200, body = Telemetry)))]
pub(super) async fn telemetry(
    State(control): State<Arc<Control>>,
) -> Result<Json<Telemetry>, ApiError> {
    Ok(Json(Telemetry {
        provider: PROVIDER.into(),
        release: RELEASE.into(),
        functions: control.deployed.count(),
        namespaces: control.namespaces().await?.len(),
        uptime: control.started.elapsed().as_secs(),
    }))
}
