use std::{collections::BTreeMap, time::SystemTime};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    AsyncPolicy, Auth, CageUse, Canary, Cors, Domain, Freeze, FunctionName, Isolation, Limits,
    Manifest, Rate, Scale, Scaling, Schedule, SecretName, Timespan, Track,
    openfaas::{FunctionDeployment, ScaleLabels},
};

/// A function as it should be: what the store keeps and an engine makes true.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Function {
    /// What it is called.
    pub name: FunctionName,
    /// The build that answers calls.
    pub revision: Revision,
    /// Which of its revisions that is: 1 is the first deploy of the name, and it only grows.
    pub number: u32,
    /// How many replicas somebody asked for, by hand or by an alert, else 1; they hold within what
    /// its settings say ([`Scaling::range`]). 0 means asleep until the next call wakes it.
    pub replicas: u32,
    /// The revision that has a share of its calls, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Box<Canary>>,
    /// When the first deploy of this name was acknowledged.
    #[serde(with = "crate::rfc3339")]
    pub created_at: SystemTime,
    /// When the last deploy of this name was acknowledged.
    #[serde(with = "crate::rfc3339")]
    pub updated_at: SystemTime,
}

impl Function {
    /// What answers by `track`, and the number of replicas that somebody asked for there.
    pub fn answering(&self, track: Track) -> Option<(&Revision, u32)> {
        match track {
            Track::Stable => Some((&self.revision, self.replicas)),
            Track::Canary => {
                let canary = self.canary.as_deref()?;
                Some((&canary.revision, canary.replicas))
            }
        }
    }

    /// Replicas of `track` that are there whether somebody calls or not; 0 where it may sleep, or
    /// was told to.
    pub fn always(&self, track: Track) -> u32 {
        let answering = self.answering(track).filter(|_| self.replicas > 0);
        answering.map_or(0, |(revision, _)| match revision.run {
            Run::Static { .. } => 0,
            _ => revision.settings.scaling().min,
        })
    }

    /// The same with so many replicas asked for, of which its canary has its share.
    pub fn with_replicas(&self, replicas: u32) -> Self {
        let canary = self.canary.as_deref().map(|canary| Canary {
            replicas: canary.share.of(replicas),
            ..canary.clone()
        });
        Self {
            replicas,
            canary: canary.map(Box::new),
            ..self.clone()
        }
    }

    /// The same with nothing to be started: its next call wakes it.
    pub fn asleep(&self) -> Self {
        let canary = self.canary.as_deref().map(|canary| Canary {
            replicas: 0,
            ..canary.clone()
        });
        Self {
            replicas: 0,
            canary: canary.map(Box::new),
            ..self.clone()
        }
    }

    /// Its revisions that answer calls: its own, and its canary's.
    pub fn revisions(&self) -> impl Iterator<Item = &Revision> {
        let canary = self.canary.as_ref().map(|canary| &canary.revision);
        std::iter::once(&self.revision).chain(canary)
    }
}

/// One immutable build of a function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// SHA-256 in lower-case hex over what runs and the settings; equal digests mean equal
    /// behaviour.
    pub digest: String,
    /// The folder in `bundles/` that it runs, named by the digest of its build. Revisions that
    /// differ in settings only share one. Empty for images.
    pub bundle: String,
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

    /// The first 12 characters of the bundle's name, for people and in names of images.
    pub fn short_bundle(&self) -> &str {
        self.bundle.get(..12).unwrap_or(&self.bundle)
    }

    /// Whether no replica could tell it from `other`: what runs is the same, and so are the
    /// settings up to those that only people and clients read.
    pub fn runs_like(&self, other: &Self) -> bool {
        self.bundle == other.bundle
            && self.run == other.run
            && self.settings.seen_by_replicas() == other.settings.seen_by_replicas()
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
    /// A program in the root of an OCI image, which serves HTTP on a port of its own network.
    Image(Box<ImageRun>),
}

/// An image and how to run it, with everything looked up that can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRun {
    /// Its name, exactly as it was asked for.
    pub image: String,
    /// Digest of the manifest for this machine's platform.
    pub manifest: String,
    /// Names of its layers' folders in `layers/`, topmost first.
    pub layers: Vec<String>,
    /// Entry point and arguments, or what the deploy gave in their place.
    pub argv: Vec<String>,
    /// The image's own environment.
    pub env: BTreeMap<String, String>,
    /// Working directory inside; empty means `/`.
    pub cwd: String,
    /// User id, group id and supplementary groups.
    pub user: (u32, u32, Vec<u32>),
    /// What asks the program to end, 1 to 64.
    pub stop_signal: i32,
    /// The port on which it serves HTTP.
    pub port: u16,
}

/// How the annotations begin that say where a replica is asked whether it is well.
const PROBED: [&str; 2] = ["com.openfaas.health.", "com.openfaas.ready."];

/// What a function may do and use: the manifest with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// The program's own environment.
    pub env: BTreeMap<String, String>,
    /// Secrets that it may read.
    pub secrets: Vec<SecretName>,
    /// Longest time from a call's arrival to the end of its answer.
    pub timeout: Timespan,
    /// How long a replica waits for the next call before it is stopped.
    pub idle: Timespan,
    /// How long before it is frozen.
    #[serde(default, skip_serializing_if = "Freeze::is_default")]
    pub freeze: Freeze,
    /// So long before each run of a schedule it is woken, and stays awake until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prewake: Option<Timespan>,
    /// What one replica may use.
    pub limits: Limits,
    /// How many replicas it has, and how many calls each takes.
    #[serde(default, skip_serializing_if = "Scale::is_default")]
    pub scale: Scale,
    /// Web origins whose pages may call it.
    pub cors: Option<Cors>,
    /// Who may call it.
    #[serde(default, skip_serializing_if = "Auth::is_none")]
    pub auth: Auth,
    /// How often one caller may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Host names whose requests are the function's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domain: Vec<Domain>,
    /// How replicas are caged; `None` means as strong as this machine can, at least
    /// what the server's configuration asks.
    pub isolation: Option<Isolation>,
    /// An OCI runtime program that makes the cage in place of hob.
    pub runtime: Option<String>,
    /// How many calls a cage serves.
    #[serde(default, skip_serializing_if = "CageUse::is_default")]
    pub sandbox: CageUse,
    /// What of the network it can reach.
    #[serde(default, skip_serializing_if = "Network::is_default")]
    pub network: Network,
    /// When the clock calls it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Schedule>,
    /// How its asynchronous calls are run.
    #[serde(
        default,
        rename = "async",
        skip_serializing_if = "AsyncPolicy::is_default"
    )]
    pub asynchronous: AsyncPolicy,
    /// Words for people and tools.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The same, longer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What a client of OpenFaaS asked for, where one deployed it: given back as it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub openfaas: Option<Box<FunctionDeployment>>,
}

/// What of the network a function can reach.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Everything that the machine can.
    #[default]
    Outbound,
    /// Nothing but itself; calls still come in.
    None,
}

impl Network {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Settings {
    /// What OpenFaaS's watchdog starts, where a client of OpenFaaS said so.
    pub fn process(&self) -> Option<&str> {
        self.openfaas.as_ref()?.env_process.as_deref()
    }

    /// How many replicas it has, by `scale` and by its labels.
    pub fn scaling(&self) -> Scaling {
        // They were read when they came.
        let labels = ScaleLabels::read(&self.labels).unwrap_or_default();
        Scaling::new(&self.heeded_scale(), &labels)
    }

    /// `scale` as it counts: a replica that is used once has one call at a time.
    pub fn heeded_scale(&self) -> Scale {
        Scale {
            concurrency: match self.sandbox {
                CageUse::Shared => self.scale.concurrency,
                CageUse::PerCall => Some(1),
            },
            ..self.scale.clone()
        }
    }

    /// The same without what no replica ever sees.
    fn seen_by_replicas(&self) -> Self {
        let process = self.process().map(|process| FunctionDeployment {
            env_process: Some(process.to_owned()),
            ..FunctionDeployment::default()
        });
        let mut annotations = self.annotations.clone();
        annotations.retain(|key, _| PROBED.iter().any(|prefix| key.starts_with(prefix)));
        Self {
            labels: BTreeMap::new(),
            annotations,
            idle: Self::IDLE,
            freeze: Freeze::default(),
            prewake: None,
            scale: Scale::default(),
            auth: Auth::None,
            rate: None,
            domain: Vec::new(),
            schedule: Vec::new(),
            asynchronous: AsyncPolicy::default(),
            openfaas: process.map(Box::new),
            ..self.clone()
        }
    }

    /// Default for [`Settings::timeout`].
    pub const TIMEOUT: Timespan = Timespan::from_secs(60);
    /// Most that [`Settings::timeout`] can be.
    pub const LONGEST_TIMEOUT: Timespan = Timespan::from_secs(86_400);
    /// Default for [`Settings::idle`].
    pub const IDLE: Timespan = Timespan::from_secs(300);
    /// Most names in [`Settings::domain`].
    pub const MOST_DOMAINS: usize = 100;
    /// Most that [`Settings::prewake`] can be.
    pub const LONGEST_PREWAKE: Timespan = Timespan::from_secs(3600);
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            env: BTreeMap::new(),
            secrets: Vec::new(),
            timeout: Self::TIMEOUT,
            idle: Self::IDLE,
            freeze: Freeze::default(),
            prewake: None,
            limits: Limits::default(),
            scale: Scale::default(),
            cors: None,
            auth: Auth::None,
            rate: None,
            domain: Vec::new(),
            isolation: None,
            runtime: None,
            sandbox: CageUse::default(),
            network: Network::default(),
            schedule: Vec::new(),
            asynchronous: AsyncPolicy::default(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            openfaas: None,
        }
    }
}

impl From<&Manifest> for Settings {
    /// The manifest with the defaults filled in.
    fn from(manifest: &Manifest) -> Self {
        Self {
            env: manifest.env.clone(),
            secrets: manifest.secrets.clone(),
            timeout: manifest.timeout.unwrap_or(Self::TIMEOUT),
            idle: manifest.idle.unwrap_or(Self::IDLE),
            freeze: manifest.freeze.unwrap_or_default(),
            prewake: manifest.prewake,
            limits: manifest.limits.clone(),
            scale: manifest.scale.clone(),
            cors: manifest.cors.clone(),
            auth: manifest.auth.clone(),
            rate: manifest.rate.clone(),
            domain: manifest.domain.clone(),
            isolation: manifest.isolation,
            runtime: manifest.runtime.clone(),
            sandbox: manifest.sandbox.unwrap_or_default(),
            network: manifest.network,
            schedule: manifest.schedule.clone(),
            asynchronous: manifest.asynchronous.clone().unwrap_or_default(),
            labels: manifest.labels.clone(),
            annotations: manifest.annotations.clone(),
            ..Self::default()
        }
    }
}
