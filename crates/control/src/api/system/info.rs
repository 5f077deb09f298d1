use std::{env::consts::ARCH, sync::Arc};

use axum::{Json, extract::State};
use serde_json::{Value, json};

use super::super::error::ApiError;
use crate::Control;

/// How hob calls itself to clients. Any other name than `faasd` has them do all that they can.
const PROVIDER: &str = "hob";

/// Clients refuse texts that are missing or empty.
pub(super) async fn show() -> Json<Value> {
    let version = json!({
        "release": env!("CARGO_PKG_VERSION"),
        "sha": "unknown",
        "commit_message": format!("hob {}", env!("CARGO_PKG_VERSION")),
    });
    Json(json!({
        "provider": {
            "provider": PROVIDER,
            "version": version,
            "orchestration": PROVIDER,
        },
        "version": version,
        "arch": ARCH,
    }))
}

/// What is here, for who asks; nothing of it is ever sent anywhere.
pub(super) async fn telemetry(
    State(control): State<Arc<Control>>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(json!({
        "provider": PROVIDER,
        "release": env!("CARGO_PKG_VERSION"),
        "functions": control.deployed.count(),
        "namespaces": control.namespaces().await?.len(),
        "uptime": control.started.elapsed().as_secs(),
    })))
}
