use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{Json, extract::State};
use hob_model::{AddressRange, Ban, Timespan};
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    audit::about,
    error::ApiError,
    refusals::{Bad, Conflict, Missing},
    request::Asked,
};
use crate::{Control, bans::AddBanError};

/// How long a ban takes that does not say so.
const USUAL: Duration = Duration::from_secs(24 * 3600);
/// Longest ban that ends by itself: ten years.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Longest reason, in bytes.
const REASON_MAX: usize = 200;

/// Who is meant.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Whom {
    /// An address or a range: `203.0.113.9`, `2001:db8::/64`.
    address: String,
}

/// Who is meant, for how long, and why.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Order {
    /// An address or a range: `203.0.113.9`, `2001:db8::/64`.
    address: String,
    /// For how long: `30m`, `1d`; `forever` until it is lifted. Default `1d`.
    #[serde(rename = "for")]
    time: Option<String>,
    /// Why, on one line.
    reason: Option<String>,
}

/// Who is shut out now, and until when.
#[utoipa::path(get, path = "/hob/v1/bans", tag = "bans",
    responses((status = 200, body = [Ban])))]
pub(super) async fn list(State(control): State<Arc<Control>>) -> Json<Vec<Ban>> {
    Json(control.bans.list())
}

/// Shuts an address out, or a range of them.
#[utoipa::path(post, path = "/hob/v1/bans", tag = "bans", params(Order),
    responses((status = 201, body = Ban), Bad, Conflict))]
pub(super) async fn add(
    State(control): State<Arc<Control>>,
    Asked(order): Asked<Order>,
) -> Result<(StatusCode, Json<Ban>), ApiError> {
    let address = address(&order.address)?;
    about(address);
    let until = until(order.time.as_deref())?;
    let reason = order.reason.unwrap_or_default();
    if reason.len() > REASON_MAX || reason.contains(char::is_control) {
        let message = format!("a reason is one line of at most {REASON_MAX} bytes");
        return Err(ApiError::Bad(message));
    }
    let ban = Ban::by_hand(address, until, reason);
    match control.add_ban(ban.clone()).await {
        Ok(()) => Ok((StatusCode::CREATED, Json(ban))),
        Err(AddBanError::Ban(error)) => Err(ApiError::Ban(error)),
        Err(AddBanError::Store(error)) => Err(error.into()),
    }
}

/// Lets an address in again, and forgets what it did.
#[utoipa::path(delete, path = "/hob/v1/bans", tag = "bans", params(Whom),
    responses((status = 204), Bad, Missing))]
pub(super) async fn remove(
    State(control): State<Arc<Control>>,
    Asked(Whom { address: text }): Asked<Whom>,
) -> Result<StatusCode, ApiError> {
    let address = address(&text)?;
    about(address);
    match control.remove_ban(address).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(ApiError::NoBan(address)),
    }
}

fn address(text: &str) -> Result<AddressRange, ApiError> {
    let parsed = text.parse();
    parsed.map_err(|error: hob_model::AddressRangeError| ApiError::Bad(error.to_string()))
}

fn until(time: Option<&str>) -> Result<Option<SystemTime>, ApiError> {
    let time = match time {
        None => USUAL,
        Some("forever") => return Ok(None),
        Some(text) => match text.parse() {
            Ok(Timespan(time)) if !time.is_zero() && time <= LONGEST => time,
            _ => {
                let message = format!("`{text}` is no time to ban for: write 30m, 1d or forever");
                return Err(ApiError::Bad(message));
            }
        },
    };
    Ok(Some(SystemTime::now() + time))
}
