//! Who changed what: every request that changes something leaves a record, made in one place.

mod action;
mod change;

use std::sync::Arc;

use axum::{Json, extract::State};
use hob_model::{Moment, wire::AuditRecord};
use hob_store::{
    AuditFilter, AuditRow,
    clock::{system_time, unix_time},
};
use serde::Deserialize;
use utoipa::IntoParams;

pub(super) use change::{Change, about};

use super::{error::ApiError, refusals::Bad, request::Asked};
use crate::Control;

/// Records in a list, unless another number is asked for.
const LISTED: u32 = 100;
/// Most records in a list.
const MOST_LISTED: u32 = 10_000;

/// Which records are listed.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Keys {
    /// Only those since then: a span such as `1h`, or a time by RFC 3339.
    since: Option<String>,
    /// Only changes by this one: `admin`, `token:NAME`, `local:UID`.
    who: Option<String>,
    /// Only this action, `function.deploy`, or all actions on a kind of thing, `function`.
    action: Option<String>,
    /// Only changes of what is called this.
    target: Option<String>,
    /// The newest so many, else 100; never more than 10000.
    #[param(maximum = 4294967295_u64)]
    limit: Option<u32>,
}

/// Who changed what, the newest last.
#[utoipa::path(get, path = "/hob/v1/audit", tag = "audit", params(Keys),
    responses((status = 200, body = [AuditRecord]), Bad))]
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Keys>,
) -> Result<Json<Vec<AuditRecord>>, ApiError> {
    let since = keys.since.map(|text| text.parse().map(Moment::time));
    let since = since
        .transpose()
        .map_err(|error| ApiError::Bad(format!("query: since: {error}")))?;
    let filter = AuditFilter {
        since: since.map(unix_time),
        who: keys.who,
        action: keys.action,
        target: keys.target,
        limit: keys.limit.unwrap_or(LISTED).min(MOST_LISTED),
    };
    let rows = control.stored(move |store| store.changes(&filter)).await?;
    Ok(Json(rows.into_iter().map(record).collect()))
}

fn record(row: AuditRow) -> AuditRecord {
    AuditRecord {
        at: system_time(row.at),
        who: row.who,
        from: row.address,
        action: row.action,
        target: row.target,
        status: row.status,
    }
}
