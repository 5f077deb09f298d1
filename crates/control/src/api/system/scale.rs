use std::sync::Arc;

use axum::{body::Body, extract::State};
use hob_model::openfaas::ScaleService;
use http::StatusCode;

use super::{
    super::{
        audit::about,
        error::ApiError,
        refusals::{Bad, Conflict, Missing, TooLarge},
        request::{Asked, NamedFunction, Segment},
    },
    InQuery, meant, named, read,
};
use crate::Control;

/// Changes how many replicas a function has while it is awake.
///
/// The path names the function: clients call the same in the body by several names.
#[utoipa::path(post, path = "/system/scale-function/{name}", tag = "system-functions",
    params(NamedFunction, InQuery), request_body = ScaleService,
    responses((status = 202), Bad, Missing, Conflict, TooLarge))]
pub(super) async fn scale(
    State(control): State<Arc<Control>>,
    Segment(name): Segment,
    Asked(query): Asked<InQuery>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let asked: ScaleService = read(body).await?;
    let namespace = meant(asked.namespace.as_deref(), query.namespace.as_deref())?;
    let name = named(&name, namespace)?;
    about(&name);
    let Some(replicas) = asked.replicas else {
        let text = "replicas: is required, as in {\"serviceName\": \"hello\", \"replicas\": 2}";
        return Err(ApiError::Bad(text.into()));
    };
    control.scale_to(&name, replicas).await?;
    Ok(StatusCode::ACCEPTED)
}
