//! The JSON of `/hob/v1`, as the control plane writes it and the CLI reads it.

mod audit;
mod calls;
mod certificates;
mod images;
mod revisions;
mod sandboxes;
mod tokens;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Auth, Domain, End, FunctionName, Missed, Rate, ReplicaId, Settings, Share};

pub use crate::schema::CallId;
pub use audit::AuditRecord;
pub use calls::{
    CallAnswer, CallCallback, CallDetail, CallPhase, CallSummary, CallsChanged, QueueDepth,
    QueueList,
};
pub use certificates::{CertificateSource, CertificateSummary};
pub use images::{BuiltImage, BuiltPlatform, ImageDeploy, ImageEvent, ImageSummary, PruneSummary};
pub use revisions::{DeployEvent, DeployStage, RevisionState, RevisionSummary, RollbackRequest};
pub use sandboxes::SandboxesSummary;
pub use tokens::{MadeToken, NewPassword, NewToken, TokenSummary};

/// One replica that runs now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Instance {
    /// Its name, also that of its log file.
    pub id: ReplicaId,
    /// Whose it is.
    pub function: FunctionName,
    /// Digest of the revision that it runs.
    pub revision: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Process id on the host of the first process in the cage.
    pub pid: u32,
    /// Resident memory in bytes, where the machine can tell.
    pub memory: Option<u64>,
    /// Processor time used since its start, in seconds, where the machine can tell.
    #[serde(default)]
    pub cpu_seconds: Option<f64>,
    /// Calls that it has now.
    pub in_flight: u32,
    /// When it was started.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub started_at: SystemTime,
}

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Started, does not listen yet.
    Starting,
    /// Takes calls.
    Ready,
    /// Stands still; takes calls again when the function is woken.
    Frozen,
    /// Takes no new calls and is about to stop.
    Draining,
}

/// Where a function stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FunctionState {
    /// At least one replica takes calls, or it needs none.
    Hot,
    /// A first replica is on its way.
    Starting,
    /// Its replicas stand still; the next call has them go on.
    Frozen,
    /// No replica; the next call starts one.
    Stopped,
    /// Its replicas keep ending; the next start waits for its back-off.
    Failing,
}

/// A function, as `hob list` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionSummary {
    /// Short form of the name.
    pub name: FunctionName,
    /// Template, or `server`.
    pub language: String,
    /// Digest of the revision that answers.
    pub revision: String,
    /// Which of the function's revisions that is: 1 is the first.
    pub revision_number: u32,
    /// Where it stands.
    pub state: FunctionState,
    /// Replicas wanted now; while it sleeps, those that it wakes with.
    pub replicas: u32,
    /// Replicas that take calls now, without those of its canary.
    pub ready: u32,
    /// Replicas that are frozen, and take calls within milliseconds.
    #[serde(default)]
    pub frozen: u32,
    /// Resident memory of all its replicas in bytes, where the machine can tell.
    #[serde(default)]
    pub memory: Option<u64>,
    /// What it cost to wake it since hob started.
    #[serde(default)]
    pub wakes: Wakes,
    /// Calls since hob started.
    pub calls: u64,
    /// Of these, calls that hob had to answer with an error.
    pub failed: u64,
    /// The revision that has a share of the calls, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanarySummary>,
    /// Path of the function on this server: `/function/hello`.
    pub path: String,
    /// Host names, perhaps with the beginning of a path, by which it is called as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Domain>,
    /// When the last deploy was acknowledged.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: SystemTime,
}

/// What it cost to wake a function since hob started, by where it woke from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Wakes {
    /// `None` when it did not wake from there yet.
    pub frozen: Option<WakePrice>,
    /// `None` when it did not wake from there yet.
    pub stopped: Option<WakePrice>,
}

/// How long a function took to wake: from its first call until its replicas were ready.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WakePrice {
    /// How often.
    pub count: u64,
    /// The last time, in milliseconds.
    pub last_millis: f64,
    /// The middle one of the last few times, in milliseconds.
    pub typical_millis: f64,
}

/// A revision that has a share of a function's calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CanarySummary {
    /// Its digest.
    pub revision: String,
    /// Which of the function's revisions it is.
    pub revision_number: u32,
    /// Its share of the calls: `10%`.
    pub share: Share,
    /// Who may call it.
    #[serde(default, skip_serializing_if = "Auth::is_none")]
    pub auth: Auth,
    /// How often each caller may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Where it stands.
    pub state: FunctionState,
    /// Replicas wanted while awake.
    pub replicas: u32,
    /// Replicas that take calls now.
    pub ready: u32,
    /// Calls that it got since it is the canary, or since hob started.
    pub calls: u64,
    /// Of these, calls that hob had to answer with an error.
    pub failed: u64,
    /// How its last replica that did not end well ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<End>,
}

/// A function, as `hob describe` shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FunctionDetail {
    /// What `hob list` shows.
    #[serde(flatten)]
    pub summary: FunctionSummary,
    /// Why it cannot run until it is deployed again: something that it needs is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The image that it runs, with the digest of its manifest; `None` for folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<FunctionImage>,
    /// When the first deploy was acknowledged.
    #[serde(with = "crate::rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub created_at: SystemTime,
    /// What the function may do and use. Secrets by name only.
    pub settings: Settings,
    /// When the clock calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<ScheduleSummary>,
    /// Its replicas, those of its canary too.
    pub instances: Vec<Instance>,
    /// How its last replica that did not end well ended.
    pub last_end: Option<End>,
}

/// A schedule of a function, as `hob schedule list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleSummary {
    /// Which function it calls.
    pub function: FunctionName,
    /// As it was written, without the time zone.
    pub schedule: String,
    /// Time zone by its IANA name.
    pub zone: String,
    /// What becomes of runs that were due while hob was down.
    pub missed: Missed,
    /// The time of the next run.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<SystemTime>,
    /// The time that the last run was for.
    #[serde(with = "crate::rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last: Option<SystemTime>,
    /// Call id of the last run.
    pub last_call: Option<String>,
    /// Why it cannot run, where this machine has changed since the deploy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// The answer to an order to run a schedule at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ScheduleRun {
    /// Id of the call that was put into the queue.
    pub call: String,
}

/// The image of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FunctionImage {
    /// Its name, as it was asked for.
    pub name: String,
    /// Digest of the manifest for this machine.
    pub manifest: String,
}

/// Who has to mend a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The one who sent the folder.
    Caller,
    /// The owner of the machine.
    Host,
}

/// `{"replicas": 3}`, the body of a scale request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// Replicas wanted at least while awake; 0 stops it until the next call.
    #[schema(maximum = 100)]
    pub replicas: u32,
}

/// One line of `GET /hob/v1/functions/NAME/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LogLine {
    /// Which replica wrote it.
    pub instance: ReplicaId,
    /// When it was written, to the millisecond.
    #[serde(with = "crate::rfc3339::millis")]
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: SystemTime,
    /// The line, without its end.
    pub text: String,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretSummary {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
}

/// A namespace, as `hob namespace list` shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamespaceSummary {
    /// Its name.
    pub name: String,
    /// Functions in it.
    pub functions: usize,
}

/// `GET /hob/v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the server.
    pub version: String,
    /// Process id of the server.
    pub pid: u32,
    /// Seconds since the server started.
    pub uptime: u64,
    /// Resident memory of the server, in bytes.
    pub memory: u64,
    /// Where calls are accepted: `http://127.0.0.1:8080`.
    pub gateway: String,
    /// Where they are accepted by TLS: `https://0.0.0.0:443`. `None` when they are not.
    pub tls: Option<String>,
    /// Where the metrics are: `http://127.0.0.1:8082/metrics`. `None` when they are not served.
    pub metrics: Option<String>,
    /// The data directory.
    pub data: String,
    /// How replicas are caged unless they ask otherwise: `container`.
    pub isolation: String,
    /// What this machine cannot enforce, one line each; empty when all is well.
    pub warnings: Vec<String>,
    /// Functions deployed.
    pub functions: usize,
    /// Replicas that run now.
    pub replicas: usize,
    /// The sandboxes of `POST /run`. `None` when no scripts are run.
    pub sandboxes: Option<SandboxesSummary>,
}

/// A registry that hob knows something of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrySummary {
    /// Host and perhaps port; `*` for authorities that are trusted for all.
    pub registry: String,
    /// As whom hob logs in there.
    pub username: Option<String>,
    /// Whether it is spoken to without TLS.
    pub plain_http: bool,
    /// Certificates of authorities that are trusted for it beside the system's.
    pub authorities: usize,
}

/// The body of `PUT /hob/v1/registries/NAME/login`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistryLogin {
    /// The user's name.
    pub username: String,
    /// The password or token.
    pub password: String,
}
