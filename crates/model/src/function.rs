use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Cors, FunctionName, Isolation, Limits, SecretName, Timespan};

/// A function as it should be: what the store keeps and an engine makes true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// What it is called.
    pub name: FunctionName,
    /// The build that answers calls.
    pub revision: Revision,
    /// How many replicas it has while it is awake; 0 means asleep until the next call wakes one.
    pub replicas: u32,
    /// When the first deploy of this name was acknowledged.
    #[serde(with = "crate::rfc3339")]
    pub created_at: SystemTime,
    /// When the last deploy of this name was acknowledged.
    #[serde(with = "crate::rfc3339")]
    pub updated_at: SystemTime,
}

/// One immutable build of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// SHA-256 in lower-case hex over the bundle's files and the settings; equal digests mean
    /// equal behaviour. Names the folder `bundles/<digest>`.
    pub digest: String,
    /// The template's name, or `server` for a program of its own.
    pub language: String,
    /// How to start it.
    pub run: Run,
    /// Everything `hob.toml` can set, with the defaults filled in.
    pub settings: Settings,
    /// When the build ended.
    #[serde(with = "crate::rfc3339")]
    pub built_at: SystemTime,
}

impl Revision {
    /// The first 12 characters of the digest, for people.
    pub fn short(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
}

/// How the calls of a revision are answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// A program that serves HTTP on `$HOB_SOCKET` or `$PORT`, started in the bundle's folder.
    Process {
        /// Program and arguments; `$NAME` is not expanded.
        argv: Vec<String>,
        /// What the template adds to the environment.
        env: BTreeMap<String, String>,
    },
    /// Files that the gateway serves itself, with no replica at all.
    Static {
        /// Folder inside the bundle, `.` for the bundle itself.
        root: String,
    },
}

/// What a function may do and use: the manifest with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The program's own environment.
    pub env: BTreeMap<String, String>,
    /// Secrets that it may read.
    pub secrets: Vec<SecretName>,
    /// Longest time from a call's arrival to the end of its answer.
    pub timeout: Timespan,
    /// How long a replica waits for the next call before it is stopped.
    pub idle: Timespan,
    /// What one replica may use.
    pub limits: Limits,
    /// Web origins whose pages may call it.
    pub cors: Option<Cors>,
    /// How replicas are caged; `None` means as strong as this machine can, at least
    /// what the server's configuration asks.
    pub isolation: Option<Isolation>,
    /// An OCI runtime program that makes the cage in place of hob.
    pub runtime: Option<String>,
}

impl Settings {
    /// Default for [`Settings::timeout`].
    pub const TIMEOUT: Timespan = Timespan::from_secs(60);
    /// Default for [`Settings::idle`].
    pub const IDLE: Timespan = Timespan::from_secs(300);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            secrets: Vec::new(),
            timeout: Self::TIMEOUT,
            idle: Self::IDLE,
            limits: Limits::default(),
            cors: None,
            isolation: None,
            runtime: None,
        }
    }
}
