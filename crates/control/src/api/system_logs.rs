//! `GET /system/logs`: what a function wrote, for the clients of OpenFaaS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{extract::State, response::Response};
use futures_util::StreamExt;
use hob_model::{
    DEFAULT_NAMESPACE, FunctionName, Moment, ReplicaId, openfaas::LogMessage, port::LogQuery,
};
use serde::Deserialize;

use super::{error::ApiError, request::Asked, stream};
use crate::Control;

/// How far back lines are shown when a client does not say, as everywhere in OpenFaaS.
const SINCE: Duration = Duration::from_secs(300);

/// All as text, since clients differ in how they leave one out.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Keys {
    name: String,
    namespace: String,
    instance: String,
    /// None, 0 and less are all.
    tail: String,
    since: String,
    follow: String,
}

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
