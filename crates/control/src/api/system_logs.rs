//! `GET /system/logs`: what a function wrote, for the clients of OpenFaaS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{extract::State, response::Response};
use futures_util::StreamExt;
use hob_model::{
    DEFAULT_NAMESPACE, FunctionName, Moment, ReplicaId,
    openfaas::{LogMessage, MaybeNamespace},
    port::LogQuery,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    error::ApiError,
    refusals::{Bad, Missing, Unreadable},
    request::Asked,
    stream,
};
use crate::Control;

/// How far back lines are shown when a client does not say, as everywhere in OpenFaaS.
const SINCE: Duration = Duration::from_secs(300);

/// All as text, since clients differ in how they leave one out.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
pub(super) struct Keys {
    /// Which function.
    #[param(required, value_type = FunctionName)]
    name: String,
    /// Else the default one, or that in the name.
    #[param(value_type = Option<MaybeNamespace>)]
    namespace: String,
    /// Only lines of this replica.
    instance: String,
    /// So many lines of each replica; none, 0 and less are all.
    #[param(pattern = "^([+-]?[0-9]{1,18})?$")]
    tail: String,
    /// Only lines since then: a time by RFC 3339, or a span such as `1h`. Else the last 5 minutes.
    since: String,
    /// Whether to wait for more, without an end: `1`, `t` or `true`; all else means no.
    follow: String,
}

/// What the replicas of a function wrote, a line each.
#[utoipa::path(get, path = "/system/logs", tag = "system-logs", params(Keys),
    responses((status = 200, body = LogMessage, content_type = stream::NDJSON), Bad, Missing,
        Unreadable))]
pub(super) async fn show(
    State(control): State<Arc<Control>>,
    Asked(keys): Asked<Keys>,
) -> Result<Response, ApiError> {
    let name = keys.function()?;
    let query = keys.query()?;
    control.function(&name)?;
    let lines = control.engine.logs(&name, query).await?;
    let (name, namespace) = (name.name().to_owned(), name.namespace().to_owned());
    Ok(stream::log_lines(lines.map(move |line| {
        line.map(|line| LogMessage {
            name: name.clone(),
            namespace: namespace.clone(),
            instance: line.instance,
            timestamp: line.timestamp,
            text: line.text,
        })
    })))
}

impl Keys {
    fn function(&self) -> Result<FunctionName, ApiError> {
        let Self {
            name, namespace, ..
        } = self;
        if name.is_empty() {
            return Err(ApiError::Bad("query: name: which function?".into()));
        }
        let named = match namespace.as_str() {
            "" | DEFAULT_NAMESPACE => name.parse(),
            // A name that has a namespace counts as it is.
            _ if name.contains('.') => name.parse(),
            namespace => format!("{name}.{namespace}").parse(),
        };
        named.map_err(|error| ApiError::Bad(format!("query: {error}")))
    }

    fn query(&self) -> Result<LogQuery, ApiError> {
        let tail = match self.tail.as_str() {
            "" => 0,
            text => text
                .parse::<i64>()
                .map_err(|_| ApiError::Unreadable(format!("tail: `{text}` is no number")))?,
        };
        let since = match self.since.as_str() {
            "" => SystemTime::now() - SINCE,
            text => text
                .parse()
                .map(Moment::time)
                .map_err(|error| ApiError::Unreadable(format!("since: {error}")))?,
        };
        let instance = Some(self.instance.as_str()).filter(|id| !id.is_empty());
        Ok(LogQuery {
            tail: usize::try_from(tail).ok().filter(|tail| *tail > 0),
            since: Some(since),
            instance: instance.map(|id| ReplicaId(id.into())),
            // What Go takes for true; all else is false.
            follow: matches!(
                self.follow.as_str(),
                "1" | "t" | "T" | "true" | "TRUE" | "True"
            ),
        })
    }
}
