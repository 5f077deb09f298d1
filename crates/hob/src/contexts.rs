//! The servers that this user has logged in to, each under a name: `contexts.toml`.

mod choice;
mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    client::{Address, Login},
    exit::{Exit, Failure},
};
pub(crate) use choice::{Asked, Remote, authorities, choose};
pub(crate) use file::ContextsFile;

/// Stands for the server of this machine, which is reached by its socket.
pub(crate) const LOCAL: &str = "local";
/// Longest name of a context, in bytes.
const NAME_MAX: usize = 63;

/// All of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is meant when nobody says another: a name of `contexts`, or [`LOCAL`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Entry>,
}

/// A server and who asks it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// Its URL.
    pub(crate) server: String,
    /// Authorities that are trusted there besides those of the system, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    /// `None` after `hob logout`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) login: Option<Login>,
}

impl Contexts {
    /// The one called `name`.
    ///
    /// # Errors
    /// A failure that names those that there are.
    pub(crate) fn get(&self, name: &str) -> Result<&Entry, Failure> {
        self.contexts.get(name).ok_or_else(|| missing(name))
    }

    /// The same, to be changed.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn get_mut(&mut self, name: &str) -> Result<&mut Entry, Failure> {
        self.contexts.get_mut(name).ok_or_else(|| missing(name))
    }

    /// The current one, and then all others: whoever looks for a server finds that one first.
    fn in_order(&self) -> impl Iterator<Item = (&String, &Entry)> {
        let current = self.current.as_ref();
        let first = current.and_then(|name| self.contexts.get_key_value(name));
        let others = self.contexts.iter();
        first
            .into_iter()
            .chain(others.filter(move |(name, _)| Some(*name) != current))
    }

    /// A context of the server at `address`.
    pub(crate) fn of(&self, address: &Address) -> Option<(&String, &Entry)> {
        let mut all = self.in_order();
        all.find(|(_, entry)| Address::parse(&entry.server).is_ok_and(|own| own == *address))
    }
}

/// Checks what somebody wants to call a context.
///
/// # Errors
/// A usage failure.
pub(crate) fn check_name(name: &str) -> Result<(), Failure> {
    let bad = |problem: &str| Err(Failure::usage(format!("context `{name}`: {problem}")));
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name == LOCAL {
        return bad("this name means the server of this machine: choose another");
    }
    if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(known) {
        return bad("a name has 1 to 63 letters, digits, dots, dashes and underscores");
    }
    Ok(())
}

/// The name for a server that nobody gave one: its host, with its port where another server has
/// that name already.
pub(crate) fn name_for(contexts: &Contexts, address: &Address) -> String {
    if let Some((name, _)) = contexts.of(address) {
        return name.clone();
    }
    let plain = |text: &str| {
        let name = text.replace(
            |c: char| !c.is_ascii_alphanumeric() && c != '.' && c != '_',
            "-",
        );
        let mut name = name.trim_matches('-').to_owned();
        name.truncate(NAME_MAX);
        name
    };
    let host = match address {
        Address::Tcp { host, .. } => plain(host),
        Address::Socket(_) => LOCAL.into(),
    };
    match contexts.contexts.contains_key(&host) || check_name(&host).is_err() {
        true => plain(&address.authority()),
        false => host,
    }
}

fn missing(name: &str) -> Failure {
    let text = format!(
        "context `{name}` does not exist: `hob context list` shows those that do, `hob login URL --name {name}` makes it"
    );
    Failure::new(Exit::NotFound, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_after_its_host() {
        let address = |url| Address::parse(url).expect(url);
        let mut contexts = Contexts::default();
        let home = address("https://box.lan:8443");
        assert_eq!(name_for(&contexts, &home), "box.lan");
        let entry = |url: &str| Entry {
            server: url.into(),
            ca: None,
            login: None,
        };
        contexts
            .contexts
            .insert("box.lan".into(), entry("https://box.lan"));
        assert_eq!(name_for(&contexts, &home), "box.lan-8443");
        contexts
            .contexts
            .insert("home".into(), entry("https://box.lan:8443/"));
        assert_eq!(name_for(&contexts, &home), "home");
        assert_eq!(name_for(&contexts, &address("http://local:1")), "local-1");
        let six = name_for(&contexts, &address("http://[fe80::1]:1"));
        assert!(check_name(&six).is_ok(), "{six}");
    }
}
