//! Two stages: what the user wrote (flags, environment, file), then what hob works with.
//!
//! Every setting has a flag, a key and a variable of one scheme: `--data`, `data`, `HOB_DATA`.
//! A flag wins over the variable, the variable over the file, the file over the default.
//! The password alone is not a setting: it comes from `HOB_PASSWORD` or from the contexts, since
//! flags are seen by everybody on the machine.

mod access_log;
mod bans;
mod client;
mod file;
mod kept;
mod limits;
mod proxy;
mod sandbox;
mod tls;
mod worker;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

use clap::Args;
use hob_control::QueueLimits;
use hob_gateway::AccessLog;
use hob_gateway::Proxies;
use hob_model::{Isolation, Memory};
use hob_sandbox::network::Subnet;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

use crate::{environment::Environment, exit::Failure};
pub(crate) use bans::BansConfig;
pub(crate) use client::{ClientArgs, ClientConfig, Settings};
pub(crate) use file::PlaceArgs;
use file::data;
pub(crate) use kept::KEEP_REVISIONS;
use kept::{keep_revisions, log_quota, queue};
pub(crate) use limits::LimitsConfig;
pub(crate) use sandbox::{FlyTable, SandboxesConfig, Workers};
pub(crate) use tls::TlsConfig;
pub(crate) use worker::{WorkerArgs, WorkerConfig};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const LOG: &str = "info";

/// The settings of a server, as flags and variables.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Address for calls and for the remote control API [default: 127.0.0.1:8080]
    #[arg(
        long,
        env = "HOB_LISTEN",
        value_name = "ADDRESS",
        value_parser = parse_listen,
        hide_env_values = true
    )]
    listen: Option<SocketAddr>,
    /// Address for Prometheus, which needs no password there, or `off` [default: 127.0.0.1:8082]
    #[arg(
        long,
        env = "HOB_METRICS",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    metrics: Option<MetricsAddress>,
    /// How functions are caged that ask for nothing else: container or process [default: as strong as this machine can]
    #[arg(
        long,
        env = "HOB_ISOLATION",
        value_name = "LEVEL",
        hide_env_values = true
    )]
    isolation: Option<Isolation>,
    /// Take and give images under /v2, for programs such as skopeo and docker: true or false [default: false]
    #[arg(
        long,
        env = "HOB_REGISTRY",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        hide_env_values = true
    )]
    registry: Option<bool>,
    /// Addresses of the networks that images get [default: 10.62.0.0/16]
    #[arg(
        long,
        env = "HOB_SUBNET",
        value_name = "SUBNET",
        hide_env_values = true
    )]
    subnet: Option<Subnet>,
    /// Largest body of an asynchronous call, and of its answer as it is kept [default: 1Mi]
    #[arg(
        long,
        env = "HOB_ASYNC_BODY",
        value_name = "SIZE",
        hide_env_values = true
    )]
    async_body: Option<Memory>,
    /// Most asynchronous calls that wait, dead letters included [default: 100000]
    #[arg(
        long,
        env = "HOB_QUEUE_CALLS",
        value_name = "NUMBER",
        hide_env_values = true
    )]
    queue_calls: Option<u64>,
    /// Most bytes of these [default: 1Gi]
    #[arg(
        long,
        env = "HOB_QUEUE_BYTES",
        value_name = "SIZE",
        hide_env_values = true
    )]
    queue_bytes: Option<Memory>,
    /// Revisions of each function that are kept, the one that runs included [default: 5]
    #[arg(
        long,
        env = "HOB_KEEP_REVISIONS",
        value_name = "NUMBER",
        hide_env_values = true
    )]
    keep_revisions: Option<u32>,
    /// Bytes that the logs of one function may take, old ones included [default: 256Mi]
    #[arg(
        long,
        env = "HOB_LOG_QUOTA",
        value_name = "SIZE",
        hide_env_values = true
    )]
    log_quota: Option<Memory>,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, env = "HOB_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,
}

/// Where Prometheus reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum MetricsAddress {
    /// Nowhere.
    Off,
    /// At this address; port 0 means any free one.
    At(SocketAddr),
}

/// What a server works with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// The data directory, absolute.
    pub(crate) data: PathBuf,
    /// Where calls are to be accepted, if the owner said so; port 0 means any free one.
    pub(crate) listen: Option<SocketAddr>,
    /// Where Prometheus reads; `None` means [`MetricsAddress::USUAL`], if it is free.
    pub(crate) metrics: Option<MetricsAddress>,
    /// The cage of functions that ask for none; `None` means the strongest that works.
    pub(crate) isolation: Option<Isolation>,
    /// Whether images are taken and given under `/v2`.
    pub(crate) registry: bool,
    /// Addresses of the networks of images; `None` means the engine's own default.
    pub(crate) subnet: Option<Subnet>,
    /// What the queue of asynchronous calls may take.
    pub(crate) queue: QueueLimits,
    /// Revisions of each function that are kept.
    pub(crate) keep_revisions: u32,
    /// Bytes that the logs of one function may take; `None` means the engine's own default.
    pub(crate) log_quota: Option<u64>,
    /// What is logged, in the syntax of `tracing`'s filters; checked.
    pub(crate) log: String,
    /// How calls are accepted by TLS, if they are.
    pub(crate) tls: Option<TlsConfig>,
    /// Who may say whose a request is.
    pub(crate) proxies: Proxies,
    /// What shuts an address out.
    pub(crate) bans: BansConfig,
    /// How much callers may take of the gateway, and how many calls are let in.
    pub(crate) limits: LimitsConfig,
    /// Where each request leaves a line, if anywhere.
    pub(crate) access_log: Option<AccessLog>,
    /// Whether and how strangers' programs are run.
    pub(crate) sandbox: SandboxesConfig,
}

impl Config {
    /// Where calls are accepted, unless the service manager passed a socket.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen.unwrap_or(LISTEN)
    }

    /// Where Prometheus reads, if anywhere; the same holds.
    pub(crate) fn metrics(&self) -> Option<SocketAddr> {
        match self.metrics {
            None => Some(MetricsAddress::USUAL),
            Some(MetricsAddress::At(address)) => Some(address),
            Some(MetricsAddress::Off) => None,
        }
    }
}

impl MetricsAddress {
    /// Where OpenFaaS's gateway has its metrics.
    pub(crate) const USUAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8082);
}

impl FromStr for MetricsAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            address => address.parse().map(Self::At).map_err(|_| {
                "write an IP address and a port, as in 127.0.0.1:8082, or `off`".to_owned()
            }),
        }
    }
}

impl TryFrom<String> for MetricsAddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl ServerArgs {
    /// Fills in from the file and the defaults.
    ///
    /// # Errors
    /// A usage failure that names the file, the key or the flag.
    pub(crate) fn resolve(self, env: &Environment) -> anyhow::Result<Config> {
        let file = self.place.read(env)?;
        let log = self.log.or(file.log).unwrap_or_else(|| LOG.into());
        let log = parse_log(&log)
            .map_err(|cure| Failure::usage(format!("log filter `{log}` is invalid: {cure}")))?;
        Ok(Config {
            data: data(self.place.data.or(file.data), env)?,
            listen: self.listen.or(file.listen),
            metrics: self.metrics.or(file.metrics),
            isolation: self.isolation.or(file.isolation),
            registry: self.registry.or(file.registry).unwrap_or(false),
            subnet: match (self.subnet, file.subnet) {
                (Some(subnet), _) => Some(subnet),
                (None, Some(text)) => Some(text.parse().map_err(Failure::usage)?),
                (None, None) => None,
            },
            queue: queue(
                self.async_body.or(file.async_body),
                self.queue_calls.or(file.queue_calls),
                self.queue_bytes.or(file.queue_bytes),
            )?,
            keep_revisions: keep_revisions(self.keep_revisions.or(file.keep_revisions))?,
            log_quota: log_quota(self.log_quota.or(file.log_quota))?,
            log,
            tls: file.tls,
            proxies: file.proxy.0,
            bans: file.bans,
            limits: file.limits,
            access_log: file.access_log.map(|table| table.0),
            sandbox: file.sandbox,
        })
    }
}

/// Reads an address to listen on; a name such as `localhost` could mean two.
///
/// # Errors
/// One line with an example.
pub(crate) fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, as in 127.0.0.1:8080".to_owned())
}

/// Checks what is to be logged.
///
/// # Errors
/// One line with examples.
pub(crate) fn parse_log(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err(
            "use error, warn, info, debug, trace, or a filter such as `hob_engine=debug`".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::{CommandFactory, Parser};

    use super::{
        file::{File, read_file},
        *,
    };

    #[derive(Parser)]
    struct Server {
        #[command(flatten)]
        args: ServerArgs,
    }

    #[derive(Parser)]
    struct Client {
        #[command(flatten)]
        args: ClientArgs,
    }

    fn with_file(text: &str, args: &[&str]) -> anyhow::Result<Config> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), text)?;
        let path = file.path().to_str().expect("utf-8");
        let line = [&["up", "--config", path], args].concat();
        Server::try_parse_from(line)?
            .args
            .resolve(&Environment::from([("HOME", "/home/ada")]))
    }

    #[test]
    fn the_defaults_need_no_file() {
        let args = ServerArgs::default();
        let config = args
            .resolve(&Environment::from([("HOME", "/home/ada")]))
            .expect("valid");
        assert_eq!(config.data, Path::new("/home/ada/.local/share/hob"));
        assert_eq!((config.listen, config.listen()), (None, LISTEN));
        assert_eq!(config.metrics, None);
        assert_eq!(config.isolation, None);
        assert!(!config.registry);
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let file = "listen = \"127.0.0.1:9000\"\nisolation = \"process\"\n";
        let config = with_file(file, &[]).expect("valid");
        assert_eq!(config.listen().port(), 9000);
        let config = with_file(file, &["--listen", "127.0.0.1:9001"]).expect("valid");
        assert_eq!(config.listen().port(), 9001);
        assert_eq!(config.isolation, Some(Isolation::Process));
        let file = "registry = true\n";
        assert!(with_file(file, &[]).expect("valid").registry);
        let config = with_file(file, &["--registry=false"]).expect("valid");
        assert!(!config.registry);
        assert!(with_file("", &["--registry"]).expect("valid").registry);
        let file = "metrics = \"127.0.0.1:9002\"\n";
        let at = MetricsAddress::At(([127, 0, 0, 1], 9002).into());
        assert_eq!(with_file(file, &[]).expect("valid").metrics, Some(at));
        let config = with_file(file, &["--metrics", "off"]).expect("valid");
        assert_eq!(config.metrics, Some(MetricsAddress::Off));
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        for (text, expected) in [
            ("\nlisten_on = \"x\"", ":2: unknown field `listen_on`"),
            ("listen = \"8080\"", ":1: invalid socket address"),
            ("isolation = \"vm\"", ":1: unknown variant `vm`"),
            ("metrics = \"8082\"", ":1: write an IP address"),
        ] {
            let message = with_file(text, &[]).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains('\n'), "{message}");
        }
        let error = with_file("", &["--log", "hob=nonsense"]).expect_err("bad filter");
        assert!(error.to_string().contains("log filter `hob=nonsense`"));
    }

    #[test]
    fn limits_have_ranges() {
        let config = with_file("queue_calls = 5\n", &["--async-body", "2Mi"]).expect("valid");
        assert_eq!((config.queue.calls, config.queue.body), (5, 2 << 20));
        for (args, expected) in [
            (["--async-body", "1Gi"], "async_body must be at most 64Mi"),
            (["--queue-calls", "0"], "queue_calls must be 1 to"),
            (["--queue-bytes", "1Ki"], "queue_bytes must not be less"),
            (["--keep-revisions", "0"], "keep_revisions must be 1 to 100"),
            (["--log-quota", "9Ki"], "log_quota must be at least 1Mi"),
        ] {
            let message = with_file("", &args).expect_err(expected).to_string();
            assert!(message.contains(expected), "{message}");
        }
    }

    #[test]
    fn tables_are_of_the_file_alone() {
        let config = with_file("", &[]).expect("valid");
        assert_eq!(
            (config.limits.calls.calls, config.limits.calls.depth),
            (10_000, 16)
        );
        assert_eq!((config.limits.calls.rate, config.access_log), (None, None));
        let text =
            "[limits]\ncalls = 5\ndepth = 3\nrate = \"10/1s\"\n[access_log]\npath = \"/a\"\n";
        let config = with_file(text, &[]).expect("valid");
        assert_eq!(
            (config.limits.calls.calls, config.limits.calls.depth),
            (5, 3)
        );
        assert_eq!(config.limits.calls.rate, "10/1s".parse().ok());
        let log = config.access_log.expect("a log");
        assert_eq!(log.target, hob_gateway::AccessTarget::File("/a".into()));
        for (text, expected) in [
            (
                "[limits]\ncalls = 0",
                ":1: limits.calls must be 1 to 1000000",
            ),
            (
                "[limits]\ndepth = 1001",
                ":1: limits.depth must be 1 to 1000",
            ),
            ("[limits]\nrate = \"often\"", ":2: rate `often` is invalid"),
            ("[limits]\nrates = 1", ":2: unknown field `rates`"),
            ("[access_log]\nquery = true", ":1: missing field `path`"),
            (
                "[access_log]\npath = \"log\"",
                ":1: access_log.path must be a whole",
            ),
            (
                "[access_log]\npath = \"/a\"\nformat = \"clf\"",
                ":3: unknown variant `clf`",
            ),
        ] {
            let message = with_file(text, &[]).expect_err(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        assert!(read_file(Path::new("/nonexistent/config.toml"), true).is_err());
        assert!(read_file(Path::new("/nonexistent/config.toml"), false).is_ok());
    }

    #[test]
    fn flag_variable_and_key_follow_one_scheme() {
        let example = |key: &str| match key {
            "listen" => "\"127.0.0.1:1\"",
            "metrics" => "\"off\"",
            "isolation" => "\"process\"",
            "registry" => "true",
            "subnet" => "\"10.0.0.0/16\"",
            "async_body" | "queue_bytes" | "log_quota" => "\"64Mi\"",
            "queue_calls" => "1000",
            "keep_revisions" => "3",
            _ => "\"x\"",
        };
        for command in [Server::command(), Client::command()] {
            for arg in command
                .get_arguments()
                // Of the contexts, `hob context use` keeps the one that is meant.
                .filter(|arg| !["config", "context"].contains(&arg.get_id().as_str()))
            {
                let id = arg.get_id().as_str();
                assert_eq!(arg.get_long(), Some(id.replace('_', "-").as_str()));
                let variable = format!("HOB_{}", id.to_uppercase());
                assert_eq!(arg.get_env(), Some(variable.as_ref()));
                let text = format!("{id} = {}", example(id));
                toml::from_str::<File>(&text).expect(id);
            }
        }
    }
}
