//! What OpenFaaS's clients send and expect: the JSON of `/system`, and the names in a build request.

mod alert;
mod annotations;
mod scale;
mod server;

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::{Label, ReplicaId, SecretName};

pub use crate::schema::MaybeNamespace;
pub use alert::{Alert, AlertLabels, Alerts};
pub use annotations::CRON_TOPIC;
pub use scale::{Load, ScaleLabelError, ScaleLabels};
pub use server::{ProviderInfo, ServerInfo, Telemetry, VersionInfo};

/// The header of `PUT /hob/v1/functions/NAME` with the length in bytes of a [`FunctionDeployment`]
/// that stands, as JSON, in the body before the folder; what it says is laid over `hob.toml`.
pub const DEPLOYMENT_HEADER: &str = "x-hob-deployment";

/// The file of a build request that says what image is wanted.
pub const BUILD_CONFIG: &str = "com.openfaas.docker.config";
/// The file of a build request with sealed secrets.
pub const BUILD_SECRETS: &str = "com.openfaas.secrets";
/// The folder of a build request with what is built.
pub const BUILD_CONTEXT: &str = "context";

/// What a client asks for: the body of `POST` and `PUT /system/functions`. Kept as it came, since
/// clients compare what they get back. Unknown keys are passed by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionDeployment {
    /// The function's name.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(required, value_type = Label)]
    pub service: String,
    /// Name of the image.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(required, min_length = 1)]
    pub image: String,
    /// What of the network it reaches: `none` is nothing, `outbound` everything; all else counts
    /// as left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Namespace of the function; the default one where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MaybeNamespace>)]
    pub namespace: Option<String>,
    /// What the watchdog starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// The function's environment.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "texts")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// Where it may run; kept and given back, since there is one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Secrets that it may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<SecretName>>)]
    pub secrets: Option<Vec<String>>,
    /// Words for people and tools.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "texts")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The same, of which some mean something.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "texts")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// What one replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<FunctionResources>,
    /// What one replica is promised; kept and given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<FunctionResources>,
    /// Whether its root is read-only, which it always is here.
    #[serde(
        skip_serializing_if = "std::ops::Not::not",
        deserialize_with = "null_is_default"
    )]
    #[schema(value_type = Option<bool>)]
    pub read_only_root_filesystem: bool,
}

/// Memory and processor time, in the notation of Kubernetes or Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FunctionResources {
    /// `64Mi`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    #[schema(value_type = Option<String>)]
    pub memory: String,
    /// `100m`.
    #[serde(
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_is_default"
    )]
    #[schema(value_type = Option<String>)]
    pub cpu: String,
    /// Graphics processors by their makers' names; kept and given back.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// A text that is `null` is empty to Go.
fn texts<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    let map = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?;
    let text = |(key, value): (String, Option<String>)| (key, value.unwrap_or_default());
    Ok(map.map(|map| map.into_iter().map(text).collect()))
}

/// Go's clients write `null` where they mean nothing, and read it so.
fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A function as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionStatus {
    /// The function's name.
    pub name: String,
    /// Name of the image, exactly as it was sent.
    pub image: String,
    /// Its namespace.
    pub namespace: String,
    /// What the watchdog starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// The environment as it was sent; the image's own is not part of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// As they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// As they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Always there, since clients look into it without asking.
    pub labels: BTreeMap<String, String>,
    /// Always there, since clients look into it without asking.
    pub annotations: BTreeMap<String, String>,
    /// As they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<FunctionResources>,
    /// As they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<FunctionResources>,
    /// As it was sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
    /// Calls since hob started.
    pub invocation_count: f64,
    /// Replicas wanted.
    pub replicas: u32,
    /// Replicas that take calls.
    pub available_replicas: u32,
    /// When it was deployed for the first time, RFC 3339.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: std::time::SystemTime,
    /// What its replicas use now; only where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<FunctionUsage>,
}

/// What all replicas of a function use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionUsage {
    /// Thousandths of a processor core.
    pub cpu: f64,
    /// Resident memory, in bytes.
    pub total_memory_bytes: f64,
}

/// The body of `DELETE /system/functions`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteFunction {
    /// The function's name.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(required, value_type = Label)]
    pub function_name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MaybeNamespace>)]
    pub namespace: Option<String>,
}

/// The body of `POST /system/scale-function/NAME`. The path names the function, since clients do
/// not agree on the key here.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleService {
    /// The function's name, and perhaps its namespace after a dot.
    #[serde(alias = "service", skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Replicas wanted; 0 stops it until the next call.
    #[schema(required, value_type = u64, maximum = 100)]
    pub replicas: Option<u64>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MaybeNamespace>)]
    pub namespace: Option<String>,
}

/// The body of `POST` and `PUT /system/secrets`, and without values of `DELETE` and the answer to
/// `GET`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Secret {
    /// The secret's name.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(required, value_type = SecretName)]
    pub name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<MaybeNamespace>)]
    pub namespace: Option<String>,
    /// Its value as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Its value in base64, which counts where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_value: Option<String>,
}

/// A namespace: the body of `POST`, `PUT` and `DELETE`, and the answer to `GET`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FunctionNamespace {
    /// Its name.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(required, value_type = Label)]
    pub name: String,
    /// Words for people and tools.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub labels: BTreeMap<String, String>,
    /// The same, longer. Here or in the labels stands `openfaas` with the value `1` or `true`.
    #[serde(deserialize_with = "null_is_default")]
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    pub annotations: BTreeMap<String, String>,
}

impl FunctionNamespace {
    /// The label or annotation that says a namespace is one of functions.
    pub const MARKER: &str = "openfaas";

    /// Whether it says that it is one of functions.
    pub fn is_marked(&self) -> bool {
        let says = |words: &BTreeMap<String, String>| {
            let value = words.get(Self::MARKER).map(String::as_str);
            matches!(value, Some("1" | "true"))
        };
        says(&self.labels) || says(&self.annotations)
    }
}

/// One line of `GET /system/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct LogMessage {
    /// The function's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which replica wrote it.
    pub instance: ReplicaId,
    /// When it was written.
    #[serde(serialize_with = "crate::rfc3339::millis::serialize")]
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: SystemTime,
    /// The line, without its end.
    pub text: String,
}
