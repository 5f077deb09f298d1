//! What came of a build: so that the same folder is not built twice, and so that a bundle can be
//! deployed again when no function runs it any more.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use hob_model::{Revision, port::BuildError};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{
    builder::Shared,
    detect::Found,
    sound::is_damaged,
    toolchain::Toolchain,
    tree::{Tree, add_field, hex},
};

/// A new number makes every folder be built again.
const FORMAT: &str = "1";

// === impl Shared ===

impl Shared {
    /// Where built folders are.
    pub(super) fn bundles(&self) -> PathBuf {
        self.config.data.join("bundles")
    }

    /// Where the outcome of building exactly this is written down.
    pub(super) fn record(
        &self,
        folder: &Path,
        found: &Found,
        toolchain: &Toolchain,
    ) -> io::Result<PathBuf> {
        let mut hash = Sha256::new();
        for text in [FORMAT, env!("CARGO_PKG_VERSION"), found.language()] {
            add_field(&mut hash, text.as_bytes());
        }
        if let Some(template) = &found.template {
            template.fingerprint(&mut hash);
        }
        toolchain.fingerprint(&mut hash);
        Tree::read(folder, None)?.digest(&mut hash)?;
        let name = format!("{}.json", hex(hash));
        Ok(self.sources().join(name))
    }

    /// Where it is written down what came of each build, by what it was made of.
    pub(super) fn sources(&self) -> PathBuf {
        self.config.data.join("cache/sources")
    }

    pub(super) fn recall(&self, record: &Path) -> Option<Revision> {
        let revision: Revision = serde_json::from_slice(&fs::read(record).ok()?).ok()?;
        let bundle = self.bundles().join(&revision.bundle);
        if !bundle.is_dir() {
            return None;
        }
        if is_damaged(&bundle) {
            let bundle = bundle.display();
            tracing::warn!("{bundle} is damaged: it is built again");
            return None;
        }
        Some(revision)
    }

    /// The build whose bundle's name begins with `start`.
    pub(super) fn bundle(&self, start: &str) -> Result<Option<Revision>, BuildError> {
        self.find(start)
            .map_err(|error| BuildError::Host(format!("cannot look for a bundle: {error}")))
    }

    fn find(&self, start: &str) -> io::Result<Option<Revision>> {
        let bundles = self.bundles();
        let entries = match fs::read_dir(&bundles) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            if name.to_str().is_some_and(|name| name.starts_with(start)) {
                let bundle = bundles.join(name).with_extension("");
                let record = fs::read(beside(&bundle)).ok();
                let revision = record.and_then(|json| serde_json::from_slice(&json).ok());
                return Ok(revision.filter(|_| bundle.is_dir()));
            }
        }
        Ok(None)
    }
}

/// Where it is written down how a bundle is run: beside it.
pub(super) fn beside(bundle: &Path) -> PathBuf {
    bundle.with_extension("json")
}

/// Writes the outcome down. It may be lost: then the folder is built again.
pub(super) fn remember(record: &Path, revision: &Revision) -> io::Result<()> {
    write_json(record, revision)
}

/// In one stroke, and not on the disk for good.
pub(super) fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut file, &serde_json::to_vec(value)?)?;
    file.persist(path)?;
    Ok(())
}
