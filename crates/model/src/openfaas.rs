//! What OpenFaaS's clients send and expect: the JSON of `/system`, and the names in a build request.

mod annotations;

use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::ReplicaId;
pub use annotations::CRON_TOPIC;

/// The file of a build request that says what image is wanted.
pub const BUILD_CONFIG: &str = "com.openfaas.docker.config";
/// The file of a build request with sealed secrets.
pub const BUILD_SECRETS: &str = "com.openfaas.secrets";
/// The folder of a build request with what is built.
pub const BUILD_CONTEXT: &str = "context";

/// What a client asks for: the body of `POST` and `PUT /system/functions`. Kept as it came, since
/// clients compare what they get back. Unknown keys are passed by.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FunctionDeployment {
    /// The function's name.
    pub service: String,
    /// Name of the image.
    pub image: String,
    /// What of the network it reaches: `none` is nothing; all else counts as left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Namespace of the function; the default one where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// What the watchdog starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_process: Option<String>,
    /// The function's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub env_vars: Option<BTreeMap<String, String>>,
    /// Where it may run; kept and given back, since there is one machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraints: Option<Vec<String>>,
    /// Secrets that it may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<Vec<String>>,
    /// Words for people and tools.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// The same, of which some mean something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// What one replica may use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<FunctionResources>,
    /// What one replica is promised; kept and given back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<FunctionResources>,
    /// Whether its root is read-only, which it always is here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root_filesystem: bool,
}

/// Memory and processor time, in the notation of Kubernetes or Docker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FunctionResources {
    /// `64Mi`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub memory: String,
    /// `100m`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cpu: String,
}

/// A function as clients see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    pub created_at: std::time::SystemTime,
}

/// The body of `DELETE /system/functions`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeleteFunction {
    /// The function's name.
    pub function_name: String,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// One line of `GET /system/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogMessage {
    /// The function's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Which replica wrote it.
    pub instance: ReplicaId,
    /// When it was written.
    #[serde(serialize_with = "crate::rfc3339::millis::serialize")]
    pub timestamp: SystemTime,
    /// The line, without its end.
    pub text: String,
}
