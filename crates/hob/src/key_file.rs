//! Keys of workers and their coordinators, in files.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use anyhow::Context;
use hob_engine::pool::{KeyError, PublicKey, SigningKey};

use crate::exit::{Exit, Failure};

/// Of a private key's file: for its owner alone.
const MODE: u32 = 0o600;
/// Permissions of others, of which it must have none.
const OTHERS: u32 = 0o077;
/// More than any key has, in bytes.
const LARGEST: u64 = 1024;

/// Writes a private key into a file that is not there yet.
///
/// # Errors
/// One line with the cure.
pub(crate) fn write(path: &Path, key: &SigningKey) -> anyhow::Result<()> {
    let text = key.reveal()?;
    let cannot = || format!("cannot write {}", path.display());
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(MODE)
        .open(path);
    let mut file = match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let message = format!(
                "{} is there already: a new key would make it worthless; name another file with --out",
                path.display()
            );
            return Err(Failure::failed(message).into());
        }
        made => made.with_context(cannot)?,
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.write_all(b"\n"))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.with_context(cannot)
}

/// Reads a private key, which nobody else may be able to read.
///
/// # Errors
/// One line with the cure, and nothing of the key.
pub(crate) fn read_private(path: &Path) -> anyhow::Result<SigningKey> {
    let text = read(path, |file| {
        let mode = file.metadata()?.permissions().mode();
        if mode & OTHERS != 0 {
            let message = format!(
                "private key {path} can be used by others: `chmod 600 {path}`",
                path = path.display()
            );
            return Err(Failure::failed(message).into());
        }
        Ok(())
    })?;
    text.trim().parse().map_err(|error| no_key(path, error))
}

/// Reads a public key: its digits, or a file with them.
///
/// # Errors
/// One line with the cure.
pub(crate) fn read_public(text: &str) -> anyhow::Result<PublicKey> {
    match text.trim().parse() {
        Ok(key) => Ok(key),
        // Digits that are no key are no file either.
        Err(error) if looks_like_digits(text) => {
            Err(Failure::usage(format!("the public key is none: {error}")).into())
        }
        Err(_) => {
            let path = Path::new(text);
            let text = read(path, |_| Ok(()))?;
            text.trim().parse().map_err(|error| no_key(path, error))
        }
    }
}

fn looks_like_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn read(path: &Path, check: impl Fn(&File) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let cannot = || format!("cannot read the key {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!(
                "there is no key {}: `hob keys generate` makes one",
                path.display()
            );
            return Err(Failure::new(Exit::NotFound, message).into());
        }
        file => file.with_context(cannot)?,
    };
    check(&file)?;
    let mut text = String::new();
    file.take(LARGEST)
        .read_to_string(&mut text)
        .with_context(cannot)?;
    Ok(text)
}

fn no_key(path: &Path, error: KeyError) -> anyhow::Error {
    Failure::failed(format!("{} is no such key: {error}", path.display())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("worker.key");
        let key = SigningKey::generate().expect("a key");
        write(&path, &key).expect("writes");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, MODE);
        let read = read_private(&path).expect("reads");
        assert_eq!(read.public(), key.public());
        assert!(write(&path, &key).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("ours");
        let problem = read_private(&path).expect_err("too open").to_string();
        assert!(problem.contains("chmod 600"), "{problem}");
    }

    #[test]
    fn a_public_key_is_its_digits_or_a_file() {
        let folder = tempfile::tempdir().expect("temp dir");
        let path = folder.path().join("worker.pub");
        let key = SigningKey::generate().expect("a key");
        let digits = key.public().to_string();
        fs::write(&path, format!("{digits}\n")).expect("writes");
        for text in [digits.as_str(), path.to_str().expect("utf-8")] {
            assert_eq!(read_public(text).expect("a key"), key.public());
        }
        let private = key.reveal().expect("a key");
        for (text, expected) in [
            ("/nonexistent", "there is no key /nonexistent"),
            ("12ab", "64 hexadecimal digits"),
            (private.as_str(), "this is the private key"),
        ] {
            let problem = read_public(text).expect_err(text).to_string();
            assert!(problem.contains(expected), "{problem}");
            assert!(!problem.contains(private.as_str()));
        }
    }
}
