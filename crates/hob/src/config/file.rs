//! The file, and where it is.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use clap::Args;
use hob_model::{Isolation, Label, Memory};
use serde::Deserialize;

use super::{
    BansConfig, LimitsConfig, MetricsAddress, SandboxesConfig, TlsConfig, access_log, proxy, worker,
};
use crate::{environment::Environment, exit::Failure};

const DATA_OF_ROOT: &str = "/var/lib/hob";
const CONFIG_OF_ROOT: &str = "/etc/hob/config.toml";

/// Where settings are kept; every verb that has settings takes it.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct PlaceArgs {
    /// Configuration file [default: /etc/hob/config.toml for root, else ~/.config/hob/config.toml]
    #[arg(long, env = "HOB_CONFIG", value_name = "FILE", hide_env_values = true)]
    config: Option<PathBuf>,
    /// Data directory of the server [default: /var/lib/hob for root, else ~/.local/share/hob]
    #[arg(long, env = "HOB_DATA", value_name = "DIR", hide_env_values = true)]
    pub(super) data: Option<PathBuf>,
}

/// The configuration file: all settings, none needed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) data: Option<PathBuf>,
    pub(super) listen: Option<SocketAddr>,
    pub(super) metrics: Option<MetricsAddress>,
    pub(super) isolation: Option<Isolation>,
    pub(super) registry: Option<bool>,
    pub(super) subnet: Option<String>,
    pub(super) async_body: Option<Memory>,
    pub(super) queue_calls: Option<u64>,
    pub(super) queue_bytes: Option<Memory>,
    pub(super) keep_revisions: Option<u32>,
    pub(super) log_quota: Option<Memory>,
    pub(super) log: Option<String>,
    pub(super) server: Option<String>,
    pub(super) namespace: Option<Label>,
    pub(super) tls: Option<TlsConfig>,
    pub(super) proxy: proxy::Table,
    pub(super) bans: BansConfig,
    pub(super) limits: LimitsConfig,
    pub(super) access_log: Option<access_log::Table>,
    pub(super) sandbox: SandboxesConfig,
    pub(super) worker: worker::Table,
}

impl PlaceArgs {
    /// Of a verb that has a configuration and no data directory.
    pub(super) fn of_file(config: Option<PathBuf>) -> Self {
        Self { config, data: None }
    }

    /// The data directory.
    ///
    /// # Errors
    /// A usage failure that names the file, the key or the flag.
    pub(crate) fn data(self, env: &Environment) -> anyhow::Result<PathBuf> {
        let file = self.read(env)?;
        data(self.data.or(file.data), env)
    }

    pub(super) fn read(&self, env: &Environment) -> anyhow::Result<File> {
        match self.path(env) {
            Some(path) => read_file(&path, self.config.is_some()),
            None => Ok(File::default()),
        }
    }

    /// Where the file is, if there is one.
    pub(super) fn path(&self, env: &Environment) -> Option<PathBuf> {
        match &self.config {
            Some(path) => Some(path.clone()),
            None if env.root => Some(CONFIG_OF_ROOT.into()),
            None => {
                let folder = env.xdg("XDG_CONFIG_HOME", ".config");
                folder.map(|folder| folder.join("hob/config.toml"))
            }
        }
    }
}

pub(super) fn read_file(path: &Path, must_exist: bool) -> anyhow::Result<File> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(File::default());
        }
        Err(error) => {
            let message = format!("configuration file {}: {error}", path.display());
            return Err(Failure::usage(message).into());
        }
    };
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| {
            1 + text[..span.start.min(text.len())].matches('\n').count()
        });
        let problem = error.message().replace('\n', " ");
        Failure::usage(format!("{}:{line}: {problem}", path.display())).into()
    })
}

/// The data directory, absolute.
pub(super) fn data(asked: Option<PathBuf>, env: &Environment) -> anyhow::Result<PathBuf> {
    let data = match asked {
        Some(data) => data,
        None if env.root => DATA_OF_ROOT.into(),
        None => env
            .xdg("XDG_DATA_HOME", ".local/share")
            .map(|folder| folder.join("hob"))
            .ok_or_else(|| {
                Failure::usage("no home directory is known: name a data directory with --data DIR")
            })?,
    };
    Ok(std::path::absolute(data)?)
}
