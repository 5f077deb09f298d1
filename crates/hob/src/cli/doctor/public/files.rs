//! Who else on this machine reads what only the server may.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Finding, State};
use crate::config::{ClientConfig, Settings};

/// Files and folders of the data directory that are the server's alone.
const PRIVATE: [&str; 3] = ["hob.db", "identity.txt", "secrets"];
/// What others may do with a file, of its mode: read or write it, or go into it.
const OTHERS: u32 = 0o077;
/// Of these, what changes it.
const WRITE: u32 = 0o022;

/// Nothing where the server is another machine's, or this user may not look.
pub(super) fn examine(config: &ClientConfig, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.server.is_none() {
        findings.push(private("data directory", &files_in(&config.data), OTHERS));
    }
    if let Some(path) = &settings.path {
        findings.push(private(
            "configuration's mode",
            std::slice::from_ref(path),
            WRITE,
        ));
    }
    if let Some(contexts) = &settings.contexts {
        let contexts = std::slice::from_ref(contexts);
        findings.push(private("logins of the command line", contexts, OTHERS));
    }
    findings
}

fn files_in(data: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = PRIVATE.iter().map(|name| data.join(name)).collect();
    let keys = std::fs::read_dir(data.join("pki")).into_iter().flatten();
    let keys = keys.map_while(Result::ok).map(|entry| entry.path());
    files.extend(keys.filter(|path| path.to_string_lossy().contains("key")));
    files
}

fn private(check: &str, paths: &[PathBuf], others: u32) -> Finding {
    let open = paths.iter().find_map(|path| {
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & others != 0).then_some((path, mode & 0o777))
    });
    match open {
        None => Finding::ok(check, "is its owner's alone"),
        Some((path, mode)) => {
            let path = path.display();
            let rights = if others == WRITE { "go-w" } else { "go=" };
            Finding::not(
                State::Fail,
                check,
                format!("other users of this machine get at {path}, whose mode is {mode:03o}"),
                format!("`chmod {rights} {path}`"),
            )
        }
    }
}
