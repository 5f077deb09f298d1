//! The webhook of Prometheus's Alertmanager: many calls make more replicas.

use std::sync::Arc;

use axum::{body::Body, extract::State};
use hob_model::{FleetName, Function, FunctionName, openfaas::Alerts};
use http::StatusCode;

use super::{
    super::{
        audit::about,
        error::ApiError,
        refusals::{Bad, TooLarge},
    },
    meant, named, read,
};
use crate::Control;

/// What the alert says while there are too many calls.
const FIRING: &str = "firing";
/// What it says when they are over.
const RESOLVED: &str = "resolved";

/// Gives functions more replicas while they are called too much, and back what they had.
///
/// All alerts are heeded, whatever becomes of the first; the answer names those that could not be.
#[utoipa::path(post, path = "/system/alert", tag = "system-functions", request_body = Alerts,
    responses((status = 200), Bad, TooLarge))]
pub(super) async fn alert(
    State(control): State<Arc<Control>>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let alerts: Alerts = read(body).await?;
    let each = alerts.alerts.unwrap_or_default();
    let names = each.iter().map(|alert| alert.labels.function_name.as_str());
    about(names.collect::<Vec<_>>().join(","));
    let mut problems = Vec::new();
    for alert in each {
        let own = Some(alert.status.as_str()).filter(|text| !text.is_empty());
        let status = own.unwrap_or(&alerts.status);
        if let Err(error) = control.heed(&alert.labels.function_name, status).await {
            problems.push(error.to_string());
        }
    }
    match problems.is_empty() {
        true => Ok(StatusCode::OK),
        false => Err(ApiError::Deploy(problems.join("; "))),
    }
}

impl Control {
    async fn heed(&self, function: &str, status: &str) -> Result<(), ApiError> {
        let name: FunctionName = named(function, meant(None, None)?)?;
        if ![FIRING, RESOLVED].contains(&status) {
            let text = format!("status is `{status}` and must be {FIRING} or {RESOLVED}");
            return Err(ApiError::Bad(text));
        }
        let wanted = |function: &Function| {
            let scaling = function.revision.settings.scaling();
            let by_hand = function.replicas;
            let replicas = match status {
                FIRING => {
                    let now = self.scalers.wanted(&FleetName::stable(&function.name));
                    scaling.raised(by_hand, now.unwrap_or(0).max(scaling.fit(by_hand)))
                }
                _ => scaling.lowered(by_hand),
            };
            replicas.into()
        };
        self.scale_by(&name, wanted).await.map(drop)
    }
}
