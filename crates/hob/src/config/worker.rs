//! The settings of `hob worker`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::Args;
use hob_engine::pool::{PublicKey, WorkerId};
use serde::Deserialize;

use super::{LOG, PlaceArgs, SandboxesConfig, parse_listen, parse_log};
use crate::{environment::Environment, exit::Failure, key_file};

/// Where workers of bfaas listen.
const PORT: u16 = 8001;
/// What Fly calls the machine.
const FLY_ID: &str = "FLY_MACHINE_ID";
/// The variable in which workers of bfaas had their key.
const BFAAS_KEY: &str = "PUBLIC";

/// The settings of a worker, as flags and variables.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct WorkerArgs {
    /// Configuration file; of it `[worker]`, `[sandbox]` and `log` count [default: as of `hob up`]
    #[arg(long, env = "HOB_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Address for runs [default: 0.0.0.0:8001 with a public key, else 127.0.0.1:8001]
    #[arg(
        long,
        env = "HOB_WORKER_LISTEN",
        value_name = "ADDRESS",
        value_parser = parse_listen,
        hide_env_values = true
    )]
    listen: Option<SocketAddr>,
    /// What the worker is called, which authorisations name [default: $FLY_MACHINE_ID, else this machine's name]
    #[arg(
        long,
        env = "HOB_WORKER_ID",
        value_name = "NAME",
        hide_env_values = true
    )]
    id: Option<WorkerId>,
    /// Public key of the server that may have something run: its digits, or a file [default: $PUBLIC]
    #[arg(
        long,
        env = "HOB_WORKER_PUBLIC_KEY",
        value_name = "KEY",
        hide_env_values = true
    )]
    public_key: Option<String>,
    /// Let everybody have something run who reaches the address: true or false [default: false]
    #[arg(
        long,
        env = "HOB_WORKER_NO_AUTH",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        hide_env_values = true
    )]
    no_auth: Option<bool>,
    /// Serve one run and end: true or false [default: false]
    #[arg(
        long,
        env = "HOB_WORKER_ONCE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = clap::builder::BoolishValueParser::new(),
        hide_env_values = true
    )]
    once: Option<bool>,
    /// What to log on standard error: error, warn, info, debug, trace, or a filter [default: info]
    #[arg(long, env = "HOB_LOG", value_name = "FILTER", hide_env_values = true)]
    log: Option<String>,
}

/// `[worker]` of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Table {
    listen: Option<SocketAddr>,
    id: Option<String>,
    public_key: Option<String>,
    no_auth: Option<bool>,
    once: Option<bool>,
}

/// What a worker works with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WorkerConfig {
    /// Where runs are accepted; port 0 means any free one.
    pub(crate) listen: SocketAddr,
    /// What it is called.
    pub(crate) id: WorkerId,
    /// Whose authorisations count; `None` lets everybody in.
    pub(crate) public_key: Option<PublicKey>,
    /// Whether it ends after one run.
    pub(crate) once: bool,
    /// How runs are caged and limited.
    pub(crate) sandbox: SandboxesConfig,
    /// What is logged; checked.
    pub(crate) log: String,
}

impl WorkerArgs {
    /// Fills in from the file, the environment and the defaults.
    ///
    /// # Errors
    /// A failure that names the file, the key or the flag.
    pub(crate) fn resolve(self, env: &Environment) -> anyhow::Result<WorkerConfig> {
        let file = PlaceArgs::of_file(self.config).read(env)?;
        let table = file.worker;
        let log = self.log.or(file.log).unwrap_or_else(|| LOG.into());
        let log = parse_log(&log)
            .map_err(|cure| Failure::usage(format!("log filter `{log}` is invalid: {cure}")))?;
        let key = self.public_key.or(table.public_key);
        let key = key.or_else(|| env.text(BFAAS_KEY).map(str::to_owned));
        let no_auth = self.no_auth.or(table.no_auth).unwrap_or(false);
        let public_key = match (key, no_auth) {
            (Some(_), true) => {
                let message = "a public key and --no-auth do not go together: with the key nobody else is let in";
                return Err(Failure::usage(message).into());
            }
            (key, _) => key.map(|key| key_file::read_public(&key)).transpose()?,
        };
        let listen = self.listen.or(table.listen);
        let listen = listen.unwrap_or_else(|| usual(public_key.is_some()));
        if !listen.ip().is_loopback() && public_key.is_none() && !no_auth {
            let message = format!(
                "everybody who reaches {listen} could have something run: give --public-key, or --no-auth where the network lets nobody else through"
            );
            return Err(Failure::usage(message).into());
        }
        if file.sandbox.is_elsewhere() {
            let message = "a worker has no workers: take `[[sandbox.workers]]` and `[sandbox.fly]` out of its configuration, or name another one with --config";
            return Err(Failure::usage(message).into());
        }
        let once = self.once.or(table.once).unwrap_or(false);
        let mut sandbox = file.sandbox;
        if once {
            sandbox.pool.size = 1;
        }
        Ok(WorkerConfig {
            listen,
            id: id(self.id, table.id, env)?,
            public_key,
            once,
            sandbox,
            log,
        })
    }
}

fn usual(guarded: bool) -> SocketAddr {
    let address = if guarded {
        Ipv4Addr::UNSPECIFIED
    } else {
        Ipv4Addr::LOCALHOST
    };
    SocketAddr::new(IpAddr::V4(address), PORT)
}

fn id(flag: Option<WorkerId>, key: Option<String>, env: &Environment) -> anyhow::Result<WorkerId> {
    if let Some(id) = flag {
        return Ok(id);
    }
    let name = key
        .or_else(|| env.text(FLY_ID).map(str::to_owned))
        .unwrap_or_else(|| {
            let machine = rustix::system::uname();
            machine.nodename().to_string_lossy().into_owned()
        });
    let id = name.parse();
    id.map_err(|error| Failure::usage(format!("{error}: give one with --id")).into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[derive(Parser)]
    struct Worker {
        #[command(flatten)]
        args: WorkerArgs,
    }

    fn resolve(file: &str, args: &[&str], env: &[(&str, &str)]) -> anyhow::Result<WorkerConfig> {
        let config = tempfile::NamedTempFile::new()?;
        std::fs::write(config.path(), file)?;
        let path = config.path().to_str().expect("utf-8");
        let line = [&["worker", "--config", path], args].concat();
        let env = match *env {
            [one] => Environment::from([one]),
            [one, two] => Environment::from([one, two]),
            _ => Environment::default(),
        };
        Worker::try_parse_from(line)?.args.resolve(&env)
    }

    #[test]
    fn nobody_from_elsewhere_is_let_in_without_a_word() {
        let config = resolve("", &["--id", "w"], &[]).expect("valid");
        assert_eq!(config.listen, ([127, 0, 0, 1], 8001).into());
        let open = ["--id", "w", "--listen", "0.0.0.0:8001"];
        let problem = resolve("", &open, &[]).expect_err("open").to_string();
        assert!(problem.contains("--public-key"), "{problem}");
        let said = [&open[..], &["--no-auth"]].concat();
        assert!(resolve("", &said, &[]).expect("valid").public_key.is_none());
        let config = resolve("", &["--id", "w", "--public-key", KEY], &[]).expect("valid");
        assert_eq!(config.listen, ([0, 0, 0, 0], 8001).into());
        let both = ["--public-key", KEY, "--no-auth"];
        assert!(resolve("", &both, &[]).is_err());
    }

    #[test]
    fn a_machine_of_bfaas_is_understood() {
        let env = [("FLY_MACHINE_ID", "148e21ea7d0389"), ("PUBLIC", KEY)];
        let config = resolve("", &["--once"], &env).expect("valid");
        assert_eq!(config.id.as_str(), "148e21ea7d0389");
        assert_eq!(config.public_key, KEY.parse().ok());
        assert!(config.once);
        let table = "[worker]\nid = \"other\"\nonce = true\n";
        let config = resolve(table, &["--once=false"], &env).expect("valid");
        assert_eq!(config.id.as_str(), "other");
        assert!(!config.once);
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        for (file, args, expected) in [
            (
                "[worker]\nid = \"a,b\"\n",
                &[][..],
                "`a,b` is no worker's name",
            ),
            ("[worker]\nname = \"a\"\n", &[], "unknown field `name`"),
            ("", &["--public-key", "12"], "64 hexadecimal digits"),
            (
                "[[sandbox.workers]]\nurl = \"http://10.0.0.2:8001\"\nid = \"w\"\n",
                &[],
                "a worker has no workers",
            ),
        ] {
            let problem = resolve(file, args, &[]).expect_err(expected).to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
