use std::sync::Arc;

use axum::{Json, extract::State};
use hob_model::wire::Status;
use hob_store::disk;

use super::error::ApiError;
use crate::{Control, metrics::resident_memory};

/// Says that hob is up.
#[utoipa::path(get, path = "/healthz", tag = "server", responses((status = 200, body = String)))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// How the server is.
#[utoipa::path(get, path = "/hob/v1/status", tag = "server", responses((status = 200, body = Status)))]
pub(super) async fn show(State(control): State<Arc<Control>>) -> Result<Json<Status>, ApiError> {
    let observed = control.observed().await?;
    Ok(Json(Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime: control.started.elapsed().as_secs(),
        memory: resident_memory(),
        gateway: control.config.gateway.clone(),
        tls: control.config.tls.clone(),
        metrics: control.config.metrics.clone(),
        data: control.config.data.display().to_string(),
        isolation: control.config.isolation.clone(),
        warnings: warnings(&control),
        functions: control.deployed.count(),
        replicas: observed.values().map(|one| one.instances.len()).sum(),
        sandboxes: control.runs.pool().map(|pool| pool.standing().into()),
    }))
}

/// What the machine cannot enforce, whether its disk is nearly full now, which certificates are
/// missing or end soon, and which functions name the server's own hosts.
fn warnings(control: &Control) -> Vec<String> {
    let data = &control.config.data;
    let free = disk::free(data).filter(|free| *free < disk::FREE_MIN);
    let nearly_full = free.map(|free| {
        format!(
            "the disk of {} is nearly full: {} MiB are free, free {} MiB or more",
            data.display(),
            free >> 20,
            (disk::FREE_MIN - free) >> 20
        )
    });
    let warnings = control.config.warnings.iter().cloned();
    let certificates = control.certificates.iter();
    let of_certificates = certificates.flat_map(|all| all.warnings());
    let own = control.own_hosts_of_functions();
    let all = warnings.chain(nearly_full).chain(of_certificates);
    all.chain(own).collect()
}
