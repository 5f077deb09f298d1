use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    AsyncPolicy, Auth, CageUse, Domain, Freeze, Isolation, Label, Limits, Network, Rate, Scale,
    Schedule, SecretName, Settings, Timespan,
    openfaas::{ScaleLabelError, ScaleLabels},
    schedule::{OneOrMany, one_or_many},
};

/// `hob.toml`: what the defaults do not fit. An empty file, or none, is a good manifest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// Name of the function; else the folder's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    /// The language's template, where the files do not tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Runs in the folder after its dependencies are there, once per changed source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Command>,
    /// Starts the program, which serves HTTP on `$PORT` or `$HOB_SOCKET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<Command>,
    /// Environment of the program. Not for secrets: these values are shown by `hob describe`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Secrets that the function may read, as files in `$HOB_SECRETS`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Longest time from a call's arrival to the end of its answer. Default 60 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Timespan>,
    /// How long a replica waits for the next call before it is stopped. Default 5 min.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle: Option<Timespan>,
    /// How long before it is frozen; has no effect where it is not shorter than `idle`. Default
    /// 10 s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<Freeze>,
    /// So long before each run of a schedule the function is woken, and stays awake until then.
    /// Default: not at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prewake: Option<Timespan>,
    /// What one replica may use.
    pub limits: Limits,
    /// How many replicas it has, and how many calls each takes.
    #[serde(skip_serializing_if = "Scale::is_default")]
    pub scale: Scale,
    /// Web origins whose pages may call the function. Default none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cors: Option<Cors>,
    /// Who may call it. Default: anybody.
    #[serde(skip_serializing_if = "Auth::is_none")]
    pub auth: Auth,
    /// How often one caller may. Default: as often as he likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// Host names whose requests are the function's. Default none.
    #[serde(
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(value_type = OneOrMany<Domain>)]
    pub domain: Vec<Domain>,
    /// How replicas are caged. Default: the server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// An OCI runtime program that makes the cage in place of hob: `runsc`, `crun`, `runc`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// How many calls a cage serves: `shared`, the default, or `per-call`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<CageUse>,
    /// What of the network the function can reach: `outbound`, the default, or `none`.
    #[serde(skip_serializing_if = "is_outbound")]
    pub network: Network,
    /// When the clock calls the function.
    #[serde(
        deserialize_with = "one_or_many",
        skip_serializing_if = "Vec::is_empty"
    )]
    #[schema(value_type = OneOrMany<Schedule>)]
    pub schedule: Vec<Schedule>,
    /// How its asynchronous calls are run. Default [`AsyncPolicy::default`].
    #[serde(rename = "async", skip_serializing_if = "Option::is_none")]
    pub asynchronous: Option<AsyncPolicy>,
    /// Words for people and tools.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The same, longer; those that OpenFaaS documents mean here what they mean there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What `hob build` makes of it.
    #[serde(skip_serializing_if = "ImageSection::is_empty")]
    pub image: ImageSection,
}

/// `[image]` of a `hob.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ImageSection {
    /// The image that the function's image stands on; else the language's usual one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
}

impl ImageSection {
    fn is_empty(&self) -> bool {
        self == &Self::default()
    }
}

/// Why a `hob.toml` was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// The text is not a manifest; the message names line, key and what was expected.
    #[error("hob.toml: {0}")]
    Syntax(String),
    /// A value is outside its range.
    #[error("hob.toml: `{key}` {problem}")]
    Range {
        /// The key, dotted.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: &'static str,
    },
    /// Nobody could be let in or kept out as it says.
    #[error("hob.toml: `auth` {0}")]
    Auth(String),
    /// A label that means a number is none.
    #[error(transparent)]
    Label(#[from] ScaleLabelError),
    /// An annotation that means something does not say it rightly.
    #[error("annotation `{key}` {problem}")]
    Annotation {
        /// Which.
        key: &'static str,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl Manifest {
    /// Reads the text of a `hob.toml`, heeds its annotations and checks every range.
    ///
    /// # Errors
    /// [`ManifestError`] names the key and the cure.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|error| ManifestError::Syntax(error.to_string().trim_end().to_owned()))?;
        manifest.completed()
    }

    /// Takes over what the annotations of OpenFaaS say, and its labels of sleep, where the manifest's
    /// own keys say nothing, and checks every range. [`Manifest::parse`] has done so.
    ///
    /// # Errors
    /// [`ManifestError`] names the key and the cure.
    pub fn completed(mut self) -> Result<Self, ManifestError> {
        self.heed_annotations()?;
        let labels = ScaleLabels::read(&self.labels)?;
        self.idle = self.idle.or(labels.idle());
        self.check()?;
        Ok(self)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let limits = &self.limits;
        let range = |key, problem| Err(ManifestError::Range { key, problem });
        if self
            .timeout
            .is_some_and(|t| t.0.is_zero() || t > Settings::LONGEST_TIMEOUT)
        {
            return range("timeout", "must be more than 0 and at most 24h");
        }
        if self.idle.is_some_and(|t| t.0.as_secs() < 1) {
            return range("idle", "must be at least 1s");
        }
        if self.freeze.is_some_and(|freeze| !freeze.is_fit()) {
            return range("freeze", "must be at least 1s, or \"never\"");
        }
        let prewakes = Timespan::from_secs(1)..=Settings::LONGEST_PREWAKE;
        if self.prewake.is_some_and(|time| !prewakes.contains(&time)) {
            return range("prewake", "must be 1s to 1h");
        }
        if self.domain.len() > Settings::MOST_DOMAINS {
            return range("domain", "must be at most 100 names");
        }
        if let Some(problem) = self.problem_with_sandbox() {
            return Err(problem);
        }
        if limits.memory.0 < 4 << 20 {
            return range("limits.memory", "must be at least 4Mi");
        }
        if limits.pids < 4 {
            return range("limits.pids", "must be at least 4");
        }
        if limits.files < 16 {
            return range("limits.files", "must be at least 16");
        }
        if limits.tmp.0 < 64 << 10 {
            return range("limits.tmp", "must be at least 64Ki");
        }
        if limits.output.0 == 0 {
            return range("limits.output", "must be more than 0");
        }
        let unfit = |(key, value): (&String, &String)| {
            key.is_empty() || key.contains(['=', '\0']) || value.contains('\0')
        };
        if self.env.iter().any(unfit) {
            return range(
                "env",
                "has a name that is empty or holds `=`, or a NUL byte",
            );
        }
        if let Some(problem) = self.auth.problem() {
            return Err(ManifestError::Auth(problem));
        }
        let asynchronous = self.asynchronous.as_ref().and_then(AsyncPolicy::problem);
        match asynchronous.or(self.scale.problem()) {
            Some((key, problem)) => range(key, problem),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// What a cage for each call cannot go with.
    fn problem_with_sandbox(&self) -> Option<ManifestError> {
        let range = |key, problem| Some(ManifestError::Range { key, problem });
        if self.sandbox != Some(CageUse::PerCall) {
            return None;
        }
        if self.isolation == Some(Isolation::Process) {
            let problem = "must be \"container\", or left out, with `sandbox = \"per-call\"`: at level `process` there is no cage to destroy";
            return range("isolation", problem);
        }
        if self.scale.concurrency.is_some_and(|most| most != 1) {
            let problem = "must be 1, or left out, with `sandbox = \"per-call\"`: each call has a replica to itself";
            return range("scale.concurrency", problem);
        }
        None
    }
}

fn is_outbound(network: &Network) -> bool {
    *network == Network::Outbound
}

/// A command line: a text goes to `/bin/sh -c`, a list is executed as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Command {
    /// For the shell, which also expands `$PORT` and `$HOB_SOCKET`.
    Shell(String),
    /// Program and arguments.
    Exec(Vec<String>),
}

impl Command {
    /// The arguments to execute.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Self::Exec(argv) => argv.clone(),
            Self::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
        }
    }
}

/// Which web origins the gateway lets call a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "CorsText", into = "CorsText")]
pub enum Cors {
    /// Every origin, without credentials.
    Any,
    /// These origins (`https://app.example.net`), with credentials.
    Origins(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum CorsText {
    One(String),
    Many(Vec<String>),
}

impl Cors {
    /// Whether pages of `origin` may, as browsers send it.
    pub fn allows(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            // Browsers send scheme and host in lower case; people may not have written them so.
            Self::Origins(origins) => origins
                .iter()
                .any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin)),
        }
    }
}

impl TryFrom<CorsText> for Cors {
    type Error = String;

    fn try_from(text: CorsText) -> Result<Self, String> {
        let origins = match text {
            CorsText::One(star) if star == "*" => return Ok(Self::Any),
            CorsText::One(origin) => vec![origin],
            CorsText::Many(origins) => origins,
        };
        match origins.iter().find(|origin| !is_origin(origin)) {
            Some(bad) => Err(format!(
                "`{bad}` is no web origin: write `\"*\"` or a list such as [\"https://app.example.net\"]"
            )),
            None => Ok(Self::Origins(origins)),
        }
    }
}

impl From<Cors> for CorsText {
    fn from(cors: Cors) -> Self {
        match cors {
            Cors::Any => Self::One("*".into()),
            Cors::Origins(origins) => Self::Many(origins),
        }
    }
}

/// Scheme, host and perhaps a port, with no path and not even a last slash (RFC 6454).
fn is_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, host)| {
        !scheme.is_empty()
            && !host.is_empty()
            && text.bytes().all(|b| b.is_ascii_graphic())
            && !host.contains(['/', '*', '?', '#', '@'])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_manifest_is_the_defaults() {
        assert_eq!(Manifest::parse("").expect("valid"), Manifest::default());
    }

    #[test]
    fn a_full_manifest_reads() {
        let manifest = Manifest::parse(
            r#"
            run = "gunicorn -b unix:$HOB_SOCKET app:app"
            timeout = "90s"
            idle = 30
            freeze = "never"
            prewake = "1m"
            secrets = ["api-key"]
            cors = ["https://app.example.net", "http://localhost:3000"]
            isolation = "process"
            [env]
            GREETING = "hi"
            [limits]
            memory = "64Mi"
            cpu = 0.5
            "#,
        )
        .expect("valid");
        assert_eq!(manifest.limits.pids, Limits::default().pids);
        assert_eq!(manifest.idle, Some(Timespan::from_secs(30)));
        assert_eq!(manifest.freeze, Some(Freeze::Never));
        assert_eq!(manifest.prewake, Some(Timespan::from_secs(60)));
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("tiemout = 3", "tiemout"),
            ("timeout = 0", "`timeout` must be more than 0"),
            ("timeout = \"soon\"", "duration `soon`"),
            ("freeze = \"500ms\"", "`freeze` must be at least 1s"),
            ("freeze = \"soon\"", "duration `soon`"),
            ("prewake = \"2h\"", "`prewake` must be 1s to 1h"),
            ("cors = \"example.net\"", "no web origin"),
            (
                "[limits]\nmemory = \"1Ki\"",
                "`limits.memory` must be at least 4Mi",
            ),
            (
                "[limits]\noutput = 0",
                "`limits.output` must be more than 0",
            ),
            ("[scale]\nmin = 3\nmax = 2", "`scale.min` must not be more"),
            ("secrets = [\"../x\"]", "secret name `../x`"),
            ("isolation = \"vm\"", "container"),
            ("sandbox = \"once\"", "`shared` or `per-call`"),
            (
                "sandbox = \"per-call\"\nisolation = \"process\"",
                "`isolation` must be \"container\"",
            ),
            (
                "sandbox = \"per-call\"\n[scale]\nconcurrency = 2",
                "`scale.concurrency` must be 1",
            ),
        ] {
            let message = Manifest::parse(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_domain_is_told() {
        let written = |text: &str| Manifest::parse(&format!("domain = {text}"));
        let one = written("\"Example.net/shop/\"").expect("valid").domain;
        assert_eq!(one[0].to_string(), "example.net/shop");
        assert_eq!(
            written("[\"a.net\", \"b.net\"]")
                .expect("valid")
                .domain
                .len(),
            2
        );
        for (text, expected) in [
            (
                "3",
                "invalid type: integer `3`, expected a text, or a list of texts",
            ),
            ("[3]", "invalid type: integer `3`, expected a string"),
            ("true", "expected a text, or a list of texts"),
            (
                "{ host = \"a.net\" }",
                "invalid type: map, expected a string",
            ),
            (
                "\"http://x\"",
                "`http://x` is no domain: write a host name, and a path",
            ),
            ("[\"a.net\", \"http://x\"]", "`http://x` is no domain"),
            ("\"localhost\"", "as in `covers.example.net`"),
        ] {
            let message = written(text).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(message.contains("line 1"), "{message}");
        }
        let many: Vec<_> = (0..=100).map(|at| format!("d{at}.example.net")).collect();
        let message = written(&format!("{many:?}")).expect_err("many").to_string();
        assert!(
            message.contains("`domain` must be at most 100"),
            "{message}"
        );
        let message = Manifest::parse("schedule = 3")
            .expect_err("no schedule")
            .to_string();
        assert!(message.contains("expected a text, or a list"), "{message}");
    }
}
