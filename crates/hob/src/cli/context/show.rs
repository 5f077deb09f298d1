use clap::Args;
use serde::Serialize;

use super::{Surroundings, user};
use crate::{
    config::{ClientArgs, ClientConfig},
    contexts::{ContextsFile, LOCAL},
    output::{self, Format, OutputArgs, Table},
};

/// Show which server is used, or what is known of one
#[derive(Debug, Args)]
pub(in crate::cli) struct Show {
    /// The context [default: the one that is used]
    name: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// What `-o json` prints. Never a password.
#[derive(Serialize)]
struct Shown {
    name: Option<String>,
    server: String,
    user: Option<String>,
    /// Whether it has a certificate authority of its own.
    own_ca: bool,
    used: bool,
    file: String,
}

impl Show {
    pub(super) fn run(self, context: &Surroundings) -> anyhow::Result<()> {
        let config = self.client.resolve(&context.env)?;
        let file = ContextsFile::of(&context.env)?;
        let file_name = file.path().display().to_string();
        let shown = match self.name {
            None => used(&config, file_name),
            Some(name) if name == LOCAL => local(&config, file_name),
            Some(name) => {
                let contexts = file.read()?;
                let entry = contexts.get(&name)?;
                Shown {
                    used: config.used() == Some(&name),
                    server: entry.server.clone(),
                    user: entry.login.as_ref().map(|login| login.user().to_owned()),
                    own_ca: entry.ca.is_some(),
                    name: Some(name),
                    file: file_name,
                }
            }
        };
        if self.output.output == Format::Json {
            return output::json(&shown);
        }
        let mut table = Table::plain();
        table.pair("name", shown.name.as_deref().unwrap_or("-"));
        table.pair("server", shown.server);
        table.pair("user", user(shown.user.as_deref()));
        table.pair("own ca", if shown.own_ca { "yes" } else { "no" });
        table.pair("used", if shown.used { "yes" } else { "no" });
        table.pair("file", shown.file);
        table.print(context.terminal.colour)
    }
}

fn used(config: &ClientConfig, file: String) -> Shown {
    let Some(remote) = &config.server else {
        return local(config, file);
    };
    Shown {
        name: remote.context.clone(),
        server: remote.url.clone(),
        user: remote.login.as_ref().map(|login| login.user().to_owned()),
        own_ca: !remote.authorities.is_empty(),
        used: true,
        file,
    }
}

fn local(config: &ClientConfig, file: String) -> Shown {
    Shown {
        name: Some(LOCAL.into()),
        server: config.socket().display().to_string(),
        user: None,
        own_ca: false,
        used: config.server.is_none(),
        file,
    }
}
