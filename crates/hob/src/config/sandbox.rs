//! `[sandbox]`: whether strangers' programs are run, where, and what each may use.

mod fly;
mod languages;
mod limits;
mod pool;
mod workers;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use hob_control::RunsConfig;
use hob_model::{Cors, Rate, RateBy, sandbox::SandboxLevel};
use http::HeaderValue;
use serde::Deserialize;

pub(crate) use fly::FlyTable;
pub(crate) use languages::LanguageConfig;
pub(crate) use limits::SandboxLimits;
pub(crate) use pool::PoolConfig;
pub(crate) use workers::Workers;

/// As it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    enabled: bool,
    level: Option<SandboxLevel>,
    runtime: Option<String>,
    login: bool,
    rate: Option<Rate>,
    cors: Option<Cors>,
    name: Option<String>,
    pool: PoolConfig,
    limits: SandboxLimits,
    languages: BTreeMap<String, LanguageConfig>,
    workers: Vec<workers::Worker>,
    fly: Option<FlyTable>,
    key: Option<PathBuf>,
}

/// The same, checked.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(try_from = "Written")]
pub(crate) struct SandboxesConfig {
    /// Whether anything is run at all.
    pub(crate) enabled: bool,
    /// How strong each sandbox is.
    pub(crate) level: SandboxLevel,
    /// OCI runtime program of the levels above `container`; `None` takes what is installed.
    pub(crate) runtime: Option<String>,
    /// Whether only those who log in may have something run.
    pub(crate) login: bool,
    /// How often one caller may.
    pub(crate) rate: Option<Rate>,
    /// Whose web pages may.
    pub(crate) cors: Option<Cors>,
    /// What the header `Coord` says; `None` is the machine's name.
    pub(crate) name: Option<HeaderValue>,
    /// Sandboxes of this machine.
    pub(crate) pool: PoolConfig,
    /// What one run may use.
    pub(crate) limits: SandboxLimits,
    /// Languages beside the built-in ones, and what is different of those; by name.
    pub(crate) languages: BTreeMap<String, LanguageConfig>,
    /// Other machines that make the runs in place of this one.
    pub(crate) workers: Option<Workers>,
    /// Machines of Fly that make them.
    pub(crate) fly: Option<FlyTable>,
    /// File with the private key by which runs at workers are authorised.
    pub(crate) key: Option<PathBuf>,
}

impl SandboxesConfig {
    /// Whether runs are made by other machines.
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.workers.is_some() || self.fly.is_some()
    }
}

impl TryFrom<Written> for SandboxesConfig {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        written.check()?;
        let name = written.name.as_deref().map(HeaderValue::from_str);
        let name = name.transpose();
        let config = Self {
            enabled: written.enabled,
            level: written.level.unwrap_or_default(),
            runtime: written.runtime,
            login: written.login,
            rate: written.rate,
            cors: written.cors,
            name: name.map_err(|_| "sandbox.name must be of letters, digits and signs")?,
            pool: written.pool,
            limits: written.limits,
            languages: written.languages,
            workers: Workers::read(written.workers)?,
            fly: written.fly,
            key: written.key,
        };
        config.check_elsewhere(written.level)?;
        Ok(config)
    }
}

impl Written {
    /// Whether what it says of this machine, and of who may, goes together.
    fn check(&self) -> Result<(), String> {
        let level = self.level.unwrap_or_default();
        if level == SandboxLevel::Container && self.runtime.is_some() {
            return Err(
                "sandbox.runtime is of the levels `gvisor` and `vm`: set sandbox.level, or remove it"
                    .into(),
            );
        }
        if let Some(rate) = &self.rate
            && rate.by != RateBy::Address
        {
            return Err(format!(
                "sandbox.rate counts addresses: remove `by = \"{}\"`",
                String::from(rate.by.clone())
            ));
        }
        if self.login && self.cors == Some(Cors::Any) {
            return Err(
                "sandbox.cors = \"*\" does not go with sandbox.login: any page could use the login that a browser remembers; name its origin"
                    .into(),
            );
        }
        let mut languages = self.languages.iter();
        languages.try_for_each(|(name, language)| language.check(name))
    }
}

impl SandboxesConfig {
    /// Whether what it says of other machines goes together; `level` is what is written of it.
    fn check_elsewhere(&self, level: Option<SandboxLevel>) -> Result<(), String> {
        if self.workers.is_some() && self.fly.is_some() {
            return Err(
                "`[[sandbox.workers]]` and `[sandbox.fly]` do not go together: remove one of them"
                    .into(),
            );
        }
        if self.is_elsewhere() && level.is_some() {
            return Err(
                "sandbox.level is of sandboxes of this machine: with workers, set it in each worker's own configuration"
                    .into(),
            );
        }
        match &self.key {
            Some(key) if !key.is_absolute() => {
                Err("sandbox.key must be a whole path, as in /etc/hob/worker.key".into())
            }
            Some(_) if !self.is_elsewhere() => Err(
                "sandbox.key is for workers, and there are none: add `[[sandbox.workers]]`, or remove it"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

impl SandboxesConfig {
    /// How runs are served.
    pub(crate) fn runs(&self) -> RunsConfig {
        let machine = || {
            let names = rustix::system::uname();
            HeaderValue::from_bytes(names.nodename().to_bytes()).ok()
        };
        RunsConfig {
            // Strangers need not learn it for nothing.
            coord: self
                .enabled
                .then(|| self.name.clone().or_else(machine))
                .flatten(),
            login: self.login,
            body: self.limits.body,
            limits: self.limits.run,
            cors: self.cors.clone(),
        }
    }

    /// Refuses to run what anybody sends as often as he likes. `listening` are the addresses where
    /// calls are taken; `proxied` says that a proxy takes them for others.
    ///
    /// # Errors
    /// One line with the cure.
    pub(crate) fn check_open(&self, listening: &[SocketAddr], proxied: bool) -> Result<(), String> {
        if !self.enabled || self.login || self.rate.is_some() {
            return Ok(());
        }
        let cure = "set `rate` in the table `sandbox` of the configuration, as in rate = \"30/1m\", or `login = true`";
        if let Some(open) = listening.iter().find(|at| !at.ip().is_loopback()) {
            return Err(format!(
                "everybody who reaches {open} could have scripts run without end: {cure}"
            ));
        }
        if proxied {
            return Err(format!(
                "proxies are trusted, and everybody who reaches one could have scripts run without end: {cure}"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hob_model::{Memory, Timespan};

    use super::*;

    #[test]
    fn nothing_is_run_unless_the_owner_says_so() {
        let config: SandboxesConfig = toml::from_str("").expect("valid");
        assert_eq!(config, SandboxesConfig::default());
        assert!(!config.enabled);
        assert_eq!(config.level, SandboxLevel::Container);
        assert!(config.pool.size >= 2);
        assert_eq!(config.limits.body, 4 << 20);
    }

    #[test]
    fn all_of_it_can_be_said() {
        let text = r#"
            enabled = true
            level = "gvisor"
            runtime = "/usr/bin/runsc"
            rate = "30/1m"
            pool = { size = 3, queue = 7, lease = "1m" }
            limits = { time = "5s", cpu = 2, memory = "1Gi", pids = 9, output = "1Ki", disk = "1Mi", body = "1Mi", cores = 0.5 }
            [languages.lua]
            run = ["lua", "{file}"]
            file = "main.lua"
            aliases = ["luajit"]
            version = ["lua", "-v"]
        "#;
        let config: SandboxesConfig = toml::from_str(text).expect("valid");
        assert_eq!(config.rate, "30/1m".parse().ok());
        let pool = &config.pool;
        assert_eq!((pool.size, pool.queue), (3, 7));
        assert_eq!(pool.lease, Duration::from_secs(60));
        assert_eq!(config.limits.run.cpu, Timespan::from_secs(2));
        assert_eq!(config.limits.run.output, Memory(1 << 10));
        assert_eq!(config.limits.cores.0, 500);
        let lua = &config.languages["lua"];
        assert_eq!(lua.run.as_deref().map(<[_]>::len), Some(2));
    }

    #[test]
    fn workers_make_the_runs_in_place_of_this_machine() {
        let text = r#"
            enabled = true
            key = "/etc/hob/worker.key"
            [[workers]]
            url = "http://10.0.0.2:8001"
            id = "one"
            slots = 4
            [[workers]]
            url = "https://two.example"
            id = "two"
        "#;
        let config: SandboxesConfig = toml::from_str(text).expect("valid");
        assert!(config.is_elsewhere());
        let workers = config.workers.expect("workers");
        let slots: Vec<_> = workers.workers.iter().map(|one| one.slots).collect();
        assert_eq!(slots, [4, 1]);
    }

    #[test]
    fn nobody_sends_scripts_from_the_network_without_a_rate_or_a_login() {
        let config = |text: &str| toml::from_str::<SandboxesConfig>(text).expect("valid");
        let open = ["127.0.0.1:8080", "0.0.0.0:443"].map(|at| at.parse().expect("an address"));
        let bare = config("enabled = true");
        let error = bare.check_open(&open, false).expect_err("open");
        assert!(error.contains("0.0.0.0:443"), "{error}");
        assert!(error.contains("rate = \"30/1m\""), "{error}");
        assert!(bare.check_open(&open[..1], false).is_ok());
        assert!(bare.check_open(&open[..1], true).is_err());
        for text in [
            "",
            "enabled = true\nrate = \"1/1s\"",
            "enabled = true\nlogin = true",
        ] {
            assert_eq!(config(text).check_open(&open, true), Ok(()), "{text}");
        }
        assert_eq!(config("name = \"x\"").runs().coord, None);
        assert_eq!(
            config("enabled = true\nname = \"iad-1\"").runs().coord,
            HeaderValue::from_str("iad-1").ok()
        );
        assert!(bare.runs().coord.is_some());
    }

    /// Each text with what is said of it.
    fn refuses<const N: usize>(cases: [(&str, &str); N]) {
        for (text, expected) in cases {
            let error = toml::from_str::<SandboxesConfig>(text).expect_err(text);
            let message = error.message();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        refuses([
            ("enable = true", "unknown field `enable`"),
            ("level = \"jail\"", "unknown variant `jail`"),
            (
                "runtime = \"runsc\"",
                "sandbox.runtime is of the levels `gvisor` and `vm`",
            ),
            (
                "rate = { limit = \"1/1s\", by = \"caller\" }",
                "sandbox.rate counts addresses: remove `by = \"caller\"`",
            ),
            (
                "login = true\ncors = \"*\"",
                "sandbox.cors = \"*\" does not go with sandbox.login",
            ),
        ]);
    }

    #[test]
    fn numbers_have_their_ranges() {
        refuses([
            (
                "pool = { size = 0 }",
                "sandbox.pool.size must be 1 to 10000",
            ),
            (
                "pool = { queue = 100001 }",
                "sandbox.pool.queue must be 0 to 100000",
            ),
            (
                "pool = { lease = \"2h\" }",
                "sandbox.pool.lease must be 1s to 1h",
            ),
            (
                "limits = { time = \"2h\" }",
                "sandbox.limits.time must be 10ms to 1h",
            ),
            (
                "limits = { memory = 1 }",
                "sandbox.limits.memory must be 4Mi to 1024Gi",
            ),
            (
                "limits = { body = \"1Gi\" }",
                "sandbox.limits.body must be 1Ki to 64Mi",
            ),
            ("limits = { cores = 5000 }", "cpu `5000` is invalid"),
        ]);
    }

    #[test]
    fn languages_have_to_be_whole() {
        refuses([
            ("languages.x = {}", "sandbox.languages.x.run is missing"),
            (
                "languages.x = { run = [\"x\"] }",
                "sandbox.languages.x.run must name `{file}` or `{script}`",
            ),
            (
                "languages.\"a b\" = { run = [\"x\", \"{file}\"] }",
                "`a b` is no name of a language",
            ),
            (
                "languages.x = { run = [\"x\", \"{file}\"], file = \"a/b\" }",
                "sandbox.languages.x.file must be the name of a file, without a folder",
            ),
        ]);
    }

    #[test]
    fn workers_have_to_go_together() {
        refuses([
            (
                "level = \"container\"\nworkers = [{ url = \"http://h\", id = \"a\" }]",
                "set it in each worker's own configuration",
            ),
            ("key = \"worker.key\"", "sandbox.key must be a whole path"),
            (
                "key = \"/worker.key\"",
                "sandbox.key is for workers, and there are none",
            ),
            (
                "workers = [{ url = \"10.0.0.2:8001\", id = \"a\" }]",
                "url `10.0.0.2:8001` of worker `a` is invalid",
            ),
            (
                "workers = [{ url = \"http://h/run\", id = \"a\" }]",
                "url `http://h/run` of worker `a` is invalid",
            ),
            (
                "workers = [{ url = \"http://h\", id = \"a,b\" }]",
                "`a,b` is no worker's name",
            ),
            (
                "workers = [{ url = \"http://h\", id = \"a\" }, { url = \"http://i\", id = \"a\" }]",
                "worker `a` is there twice",
            ),
            (
                "workers = [{ url = \"http://h\", id = \"a\", protocol = \"bfaas\" }, { url = \"http://i\", id = \"b\" }]",
                "must have the same `protocol`",
            ),
            (
                "workers = [{ url = \"http://h\", id = \"a\", slots = 0 }]",
                "sandbox.workers.slots must be 1 to 10000",
            ),
        ]);
    }
}
