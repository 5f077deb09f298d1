use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::PoisonError};

use hob_model::{port::PemPair, wire::CertificateSource};
use hob_store::Certificate;

use super::{
    CertificateFiles, Certificates, CertificatesError,
    entry::{Entry, Slot},
};

/// Largest file of certificates or a key, in bytes.
const FILE_MAX: u64 = 1 << 20;

/// What tells a file that was written since: inode, size, and the time in nanoseconds. Nothing
/// while it is not there.
type Stamp = [Option<(u64, u64, i64, i64)>; 2];

/// A pair of files at two times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamps {
    /// When it was last looked at.
    seen: Stamp,
    /// When it was last read.
    read: Stamp,
}

impl Certificates {
    /// Presents the pairs of the configuration.
    pub(super) fn open_files(&self) -> Result<(), CertificatesError> {
        for (number, files) in self.config.files.iter().enumerate() {
            let slot = Slot::File(number);
            let stamp = stamp(files);
            let entry = Entry::missing(CertificateSource::File, Vec::new());
            self.entries().insert(slot.clone(), entry);
            self.load(&slot, files).map_err(CertificatesError)?;
            let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
            stamps.push(Stamps {
                seen: stamp,
                read: stamp,
            });
        }
        Ok(())
    }

    /// Presents pairs that have changed. One that cannot be used leaves the former one where it is.
    pub(super) fn check_files(&self) {
        for (number, files) in self.config.files.iter().enumerate() {
            if !self.has_settled(number, stamp(files)) {
                continue;
            }
            let slot = Slot::File(number);
            match self.load(&slot, files) {
                Ok(()) => {
                    let shown = files.certificate.display();
                    tracing::info!("the new certificate in {shown} is presented");
                }
                Err(problem) => {
                    tracing::error!("the former certificate goes on: {problem}");
                    self.change(&slot, |entry| entry.problem = Some(problem));
                }
            }
        }
    }

    /// Whether a pair has changed since it was read, but not since the last look: whoever writes one
    /// of its files is not done with the other.
    fn has_settled(&self, number: usize, now: Stamp) -> bool {
        let mut stamps = self.stamps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stamps) = stamps.get_mut(number) else {
            return false;
        };
        let settled = stamps.seen == now && stamps.read != now;
        stamps.seen = now;
        if settled {
            stamps.read = now;
        }
        settled
    }

    fn load(&self, slot: &Slot, files: &CertificateFiles) -> Result<(), String> {
        let pair = PemPair {
            chain: read(&files.certificate)?,
            key: read(&files.key)?.into(),
        };
        let parsed = Certificate::of_file(&files.certificate, &files.key, &pair.chain);
        let parsed = parsed.map_err(|_| {
            format!(
                "{} has no certificate in PEM: put the one there, and those that vouch for it after it",
                files.certificate.display()
            )
        })?;
        let hosts = parsed.names.clone();
        self.present(slot, &hosts, pair).map_err(|problem| {
            format!(
                "{} and {} cannot be used: {problem}",
                files.certificate.display(),
                files.key.display()
            )
        })?;
        self.change(slot, |entry| entry.take(parsed, None));
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let refuse = |problem: &str| format!("cannot read {}: {problem}", path.display());
    let size = fs::metadata(path)
        .map_err(|error| refuse(&error.to_string()))?
        .len();
    if size > FILE_MAX {
        return Err(refuse("it is too large for a certificate"));
    }
    fs::read(path).map_err(|error| refuse(&error.to_string()))
}

fn stamp(files: &CertificateFiles) -> Stamp {
    [&files.certificate, &files.key].map(|path| {
        let data = fs::metadata(path).ok()?;
        Some((data.ino(), data.size(), data.mtime(), data.mtime_nsec()))
    })
}
