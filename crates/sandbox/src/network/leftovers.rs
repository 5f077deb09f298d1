//! Removing everything that carries a bridge's name, whoever left it.

use std::{fs, io, path::PathBuf};

use super::{NetworkConfig, bridge, namespace, program};
use crate::SandboxError;

/// Links that one run of `ip` deletes: each takes some thirty milliseconds of its time.
const AT_ONCE: usize = 100;

/// Removes all namespaces but those `kept`, and if no link is left, the bridge and its rules.
pub(super) fn remove(config: &NetworkConfig, kept: &[PathBuf]) -> Result<(), SandboxError> {
    let is_kept = |name: &str| kept.iter().any(|path| path.ends_with(name));
    let ours = |name: &str| {
        let rest = name.strip_prefix(&config.bridge);
        rest.is_some_and(|rest| rest.starts_with('-')) && !is_kept(name)
    };
    let links = bridge::links()?;
    let ports: Vec<&String> = links.iter().filter(|name| ours(name)).collect();
    for ports in ports.chunks(AT_ONCE) {
        let lines = ports.iter().map(|name| format!("link delete {name}\n"));
        let deleted = program::ip_each(&lines.collect::<String>());
        // One that went by itself meanwhile is no error.
        let left = bridge::links()?;
        if ports.iter().any(|name| left.contains(name)) {
            deleted?;
        }
    }
    // Without it there are no rules either: they come after it and go before it.
    let in_use = links.iter().any(|name| is_kept(name));
    if links.contains(&config.bridge) && !in_use {
        bridge::remove(&config.bridge)?;
    }
    let folder = namespace::folder(config);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(SandboxError::io("cannot read", &folder))?,
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(ours))
        .try_for_each(|entry| namespace::destroy(&entry.path()))
}
