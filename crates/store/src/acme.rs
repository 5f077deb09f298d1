use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use zeroize::Zeroizing;

use crate::{StoreError, durable};

/// The account, with its private key.
const ACCOUNT: &str = "account.json";

/// What is kept of one ACME server, in a private folder: `account.json`, and for each host
/// `HOST.pem` with the certificate, those that vouch for it and the private key in one file, so that
/// they always fit together, and `HOST.retry` while it cannot be had.
///
/// One process at a time may write, and each host once at a time.
#[derive(Debug, Clone)]
pub struct AcmeFolder {
    folder: PathBuf,
}

/// Attempts to get a certificate that failed, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeRetry {
    /// How many.
    pub failures: u32,
    /// Not before this time again.
    pub next: SystemTime,
    /// What the last one failed with; one line.
    pub problem: String,
}

impl AcmeFolder {
    /// The one of the server with this directory, in `folder`.
    pub fn at(folder: &Path, directory: &str) -> Self {
        let (_, rest) = directory.split_once("://").unwrap_or(("", directory));
        let plain = |c: char| match c {
            c if c.is_ascii_alphanumeric() || c == '-' || c == '.' => c,
            _ => '_',
        };
        let name: String = rest.trim_matches(['/', '.']).chars().map(plain).collect();
        Self {
            folder: folder.join(name),
        }
    }

    /// The account; `None` when there is none yet.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn account(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read(&self.folder.join(ACCOUNT))
    }

    /// Keeps the account.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn put_account(&self, account: &[u8]) -> Result<(), StoreError> {
        self.put(ACCOUNT, account)
    }

    /// Forgets the account.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn forget_account(&self) -> Result<(), StoreError> {
        durable::remove(&self.folder, ACCOUNT).map(|_| ())
    }

    /// Where all of it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the certificate of `host` is.
    pub fn path(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{host}.pem"))
    }

    /// The certificate and key of `host`; `None` when there is none yet.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn pair(&self, host: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        read(&self.path(host))
    }

    /// Keeps the certificate and key of `host`, and forgets what failed before.
    ///
    /// # Errors
    /// When the disk refuses; then the former one stays.
    pub fn put_pair(&self, host: &str, pem: &[u8]) -> Result<(), StoreError> {
        self.put(&format!("{host}.pem"), pem)?;
        self.forget_retry(host)
    }

    /// What failed for `host`; `None` when nothing did.
    pub fn retry(&self, host: &str) -> Option<AcmeRetry> {
        let text = fs::read_to_string(self.retry_path(host)).ok()?;
        let mut lines = text.lines();
        Some(AcmeRetry {
            failures: lines.next()?.parse().ok()?,
            next: humantime::parse_rfc3339(lines.next()?).ok()?,
            problem: lines.next()?.to_owned(),
        })
    }

    /// Keeps what failed for `host`, so that no restart brings the next attempt on.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn put_retry(&self, host: &str, retry: &AcmeRetry) -> Result<(), StoreError> {
        let next = humantime::format_rfc3339_seconds(retry.next);
        let problem = retry.problem.replace(['\n', '\r'], " ");
        let text = format!("{}\n{next}\n{problem}\n", retry.failures);
        self.put(&format!("{host}.retry"), text.as_bytes())
    }

    /// Has the next attempt be the first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn forget_retry(&self, host: &str) -> Result<(), StoreError> {
        if self.folder.is_dir() {
            durable::remove(&self.folder, &format!("{host}.retry"))?;
        }
        Ok(())
    }

    fn retry_path(&self, host: &str) -> PathBuf {
        self.folder.join(format!("{host}.retry"))
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        durable::private_folder(&self.folder)?;
        // Several hosts may be written at once, and backups leave out what begins with a dot.
        durable::replace(&self.folder, name, &format!(".{name}.draft"), bytes)
    }
}

/// `None` when there is no such file.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn what_failed_is_remembered_until_there_is_a_certificate() {
        let place = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::at(place.path(), "https://acme.example/dir");
        assert_eq!(folder.retry("a.example"), None);
        folder.forget_retry("a.example").unwrap();
        let retry = AcmeRetry {
            failures: 3,
            next: SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000),
            problem: "no\nanswer".into(),
        };
        folder.put_retry("a.example", &retry).unwrap();
        let read = folder.retry("a.example").unwrap();
        assert_eq!((read.failures, read.next), (retry.failures, retry.next));
        assert_eq!(read.problem, "no answer");
        folder.put_pair("a.example", b"pem").unwrap();
        assert_eq!(folder.retry("a.example"), None);
        let path = place.path().join("acme.example_dir/a.example.pem");
        assert_eq!(folder.path("a.example"), path);
        assert_eq!(**folder.pair("a.example").unwrap().unwrap(), *b"pem");
    }
}
