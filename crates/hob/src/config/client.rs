use std::path::PathBuf;

use clap::Args;
use hob_model::Label;

use super::{PlaceArgs, data};
use crate::{
    contexts::{Asked, ContextsFile, LOCAL, Remote, choose},
    environment::Environment,
};

/// The settings of the verbs that talk to a server, as flags and variables.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which server")]
pub(crate) struct ClientArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Server to talk to, with the password or a token in HOB_PASSWORD unless you logged in there [default: the current context, else the socket in the data directory]
    #[arg(long, env = "HOB_SERVER", value_name = "URL", hide_env_values = true)]
    server: Option<String>,
    /// Server to talk to, by its name in `hob context list`; `local` is that of this machine
    #[arg(long, env = "HOB_CONTEXT", value_name = "NAME", hide_env_values = true)]
    context: Option<String>,
    /// Namespace of names that do not say one [default: openfaas-fn]
    #[arg(
        short,
        long,
        env = "HOB_NAMESPACE",
        value_name = "NAME",
        hide_env_values = true
    )]
    namespace: Option<Label>,
}

/// What a client works with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClientConfig {
    /// The data directory, whose socket is used when there is no `server`.
    pub(crate) data: PathBuf,
    /// The server; `None` is that of this machine.
    pub(crate) server: Option<Remote>,
    /// The namespace asked for, if any.
    pub(crate) namespace: Option<Label>,
}

impl ClientArgs {
    /// Fills in from the file and the defaults.
    ///
    /// # Errors
    /// A usage failure that names the file, the key or the flag.
    pub(crate) fn resolve(self, env: &Environment) -> anyhow::Result<ClientConfig> {
        let file = self.place.read(env)?;
        let contexts = ContextsFile::find(env).map(|file| file.read());
        let asked = Asked {
            server: self.server,
            context: self.context,
            default: file.server,
        };
        Ok(ClientConfig {
            data: data(self.place.data.or(file.data), env)?,
            server: choose(asked, &contexts.transpose()?.unwrap_or_default(), env)?,
            namespace: self.namespace.or(file.namespace),
        })
    }
}

impl ClientConfig {
    /// Where the server of this machine is asked.
    pub(crate) fn socket(&self) -> PathBuf {
        self.data.join("run/hob.sock")
    }

    /// The name of the context that is used, if one is.
    pub(crate) fn used(&self) -> Option<&str> {
        match &self.server {
            Some(remote) => remote.context.as_deref(),
            None => Some(LOCAL),
        }
    }
}

/// The files of the command line's user, for who looks after them.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// The configuration file, if it is there.
    pub(crate) path: Option<PathBuf>,
    /// What it says.
    pub(crate) tables: toml::Table,
    /// The file with the logins, if it is there.
    pub(crate) contexts: Option<PathBuf>,
}

impl ClientArgs {
    /// What the file says, as it is written.
    ///
    /// # Errors
    /// A usage failure that names the file.
    pub(crate) fn settings(&self, env: &Environment) -> anyhow::Result<Settings> {
        self.place.read(env)?;
        let path = self.place.path(env).filter(|path| path.is_file());
        let tables = path.as_ref().map(std::fs::read_to_string).transpose()?;
        let contexts = env.xdg("XDG_CONFIG_HOME", ".config");
        Ok(Settings {
            path,
            tables: toml::from_str(&tables.unwrap_or_default())?,
            contexts: contexts
                .map(|folder| folder.join("hob/contexts.toml"))
                .filter(|path| path.is_file()),
        })
    }
}
