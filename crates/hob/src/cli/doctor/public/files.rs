//! Who else on this machine reads what only the server may.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{Finding, State, settings};
use crate::config::{ClientConfig, Settings};

/// Files and folders of the data directory that are the server's alone.
const PRIVATE: [&str; 3] = ["hob.db", "identity.txt", "secrets"];
/// Where it has certificates and their keys, and in there what ACME brought: all in one file each.
const PKI: &str = "pki";
const ACME: &str = "acme";
/// Folders in folders that are walked there, and files that are looked at.
const DEPTH_MAX: usize = 4;
const KEYS_MAX: usize = 10_000;
/// What others may do with a file, of its mode: read or write it, or go into it.
const OTHERS: u32 = 0o077;
/// Of these, what changes it.
const WRITE: u32 = 0o022;
/// Of these, what no key of the owner's own lets: that its group reads it is how Debian has them.
const KEY: u32 = 0o027;

/// Nothing of what this user may not look at.
pub(super) fn examine(config: &ClientConfig, settings: &Settings) -> Vec<Finding> {
    let mut findings = vec![private("data directory", &files_in(&config.data), OTHERS)];
    let named = settings::keys(settings);
    if !named.is_empty() {
        findings.push(private("keys of certificates", &named, KEY));
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
    add_keys(&data.join(PKI), false, DEPTH_MAX, &mut files);
    files
}

/// The private keys in a folder and those in it; `all` its files have one.
fn add_keys(folder: &Path, all: bool, depth: usize, keys: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    for entry in entries.map_while(Result::ok).take(KEYS_MAX) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let all = all || entry.file_name() == ACME;
            if depth > 0 {
                add_keys(&path, all, depth - 1, keys);
            }
        } else if all || path.extension().is_some_and(|end| end == "key") {
            keys.push(path);
        }
    }
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
            let rights = match others {
                WRITE => "go-w",
                KEY => "g-w,o=",
                _ => "go=",
            };
            Finding::not(
                State::Fail,
                check,
                format!("other users of this machine get at {path}, whose mode is {mode:03o}"),
                format!("`chmod {rights} {path}`"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_private_key_is_looked_at_and_nothing_else() {
        // A word in the path of the data directory says nothing of a file.
        let place = tempfile::Builder::new().prefix("keys-").tempdir();
        let place = place.expect("a folder");
        let data = place.path();
        for (file, mode) in [
            ("pki/ca.pem", 0o644),
            ("pki/ca.key", 0o600),
            ("pki/servers/key.example.net.pem", 0o644),
            ("pki/servers/key.example.net.key", 0o600),
            ("pki/own/localhost.key", 0o600),
            ("pki/acme/a.example/account.json", 0o600),
        ] {
            let path = data.join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(&path, "").expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("set");
        }
        let set = |file: &str, mode| {
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(data.join(file), permissions).expect("set");
        };
        let finding = || private("data directory", &files_in(data), OTHERS);
        assert_eq!(finding().state, State::Ok, "{:?}", finding());
        for (file, mode) in [
            ("pki/ca.key", 0o600),
            ("pki/servers/key.example.net.key", 0o600),
            ("pki/own/localhost.key", 0o600),
            ("pki/acme/a.example/account.json", 0o600),
        ] {
            set(file, mode | 0o044);
            let found = finding();
            assert_eq!(found.state, State::Fail, "{file}");
            assert!(found.detail.contains(file), "{found:?}");
            set(file, mode);
        }
        let key = [data.join("pki/ca.key")];
        for (mode, expected) in [
            (0o640, State::Ok),
            (0o660, State::Fail),
            (0o644, State::Fail),
        ] {
            set("pki/ca.key", mode);
            assert_eq!(private("keys of certificates", &key, KEY).state, expected);
        }
    }
}
