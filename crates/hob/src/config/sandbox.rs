//! `[sandbox]`: whether strangers' programs are run, where, and what each may use.

mod fly;
mod languages;
mod limits;
mod pool;
mod workers;

use std::{collections::BTreeMap, path::PathBuf};

use hob_model::{Rate, RateBy, sandbox::SandboxLevel};
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
        let level = written.level.unwrap_or_default();
        if level == SandboxLevel::Container && written.runtime.is_some() {
            return Err(
                "sandbox.runtime is of the levels `gvisor` and `vm`: set sandbox.level, or remove it"
                    .into(),
            );
        }
        if let Some(rate) = &written.rate
            && rate.by != RateBy::Address
        {
            return Err(format!(
                "sandbox.rate counts addresses: remove `by = \"{}\"`",
                String::from(rate.by.clone())
            ));
        }
        for (name, language) in &written.languages {
            language.check(name)?;
        }
        let workers = Workers::read(written.workers)?;
        let fly = written.fly;
        if workers.is_some() && fly.is_some() {
            return Err(
                "`[[sandbox.workers]]` and `[sandbox.fly]` do not go together: remove one of them"
                    .into(),
            );
        }
        let elsewhere = workers.is_some() || fly.is_some();
        if elsewhere && written.level.is_some() {
            return Err(
                "sandbox.level is of sandboxes of this machine: with workers, set it in each worker's own configuration"
                    .into(),
            );
        }
        match &written.key {
            Some(key) if !key.is_absolute() => {
                return Err("sandbox.key must be a whole path, as in /etc/hob/worker.key".into());
            }
            Some(_) if !elsewhere => {
                return Err(
                    "sandbox.key is for workers, and there are none: add `[[sandbox.workers]]`, or remove it"
                        .into(),
                );
            }
            _ => {}
        }
        Ok(Self {
            enabled: written.enabled,
            level,
            runtime: written.runtime,
            login: written.login,
            rate: written.rate,
            pool: written.pool,
            limits: written.limits,
            languages: written.languages,
            workers,
            fly,
            key: written.key,
        })
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
    fn what_cannot_be_is_refused_by_name() {
        for (text, expected) in [
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
            ("limits = { cores = 5000 }", "cpu limit `5000` is invalid"),
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
        ] {
            let error = toml::from_str::<SandboxesConfig>(text).expect_err(text);
            assert!(
                error.message().contains(expected),
                "{text}: {}",
                error.message()
            );
        }
    }
}
