//! Taking one blob away, where pruning takes all that nobody needs.

use std::{collections::BTreeSet, fs, io, sync::Arc};

use crate::{Digest, ImageError, ImageRef, ImageStore, Needed, disk::on_disk};

/// What came of a wish to remove a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// It is gone, or only other names lead to it.
    Done,
    /// It was not here.
    Missing,
    /// This name leads to it.
    Named(ImageRef),
    /// A function runs it.
    InUse,
}

// === impl ImageStore ===

impl ImageStore {
    /// Removes a blob that nobody needs. `needed` is asked when nobody else is at work, on a thread
    /// that may wait for the disk. With `home`, a registry and repository as in `r.example.net/team/hello`, the blob is a manifest:
    /// the names of that repository that point to it go with it, and names elsewhere keep the
    /// file without keeping the repository's part in it.
    ///
    /// # Errors
    /// [`ImageError::Busy`] while a pull, push or build holds the store; that of `needed`; or the
    /// disk's.
    pub async fn remove<E: From<ImageError> + Send + 'static>(
        self: &Arc<Self>,
        digest: Digest,
        home: Option<String>,
        needed: impl FnOnce() -> Result<Needed, E> + Send + 'static,
    ) -> Result<Removal, E> {
        let alone = self.alone()?;
        let store = Arc::clone(self);
        on_disk(move || {
            let removal = needed().and_then(|needed| {
                Ok(store.remove_now(&digest, home.as_deref(), &needed.manifests)?)
            });
            drop(alone);
            Ok(removal)
        })
        .await?
    }

    fn remove_now(
        &self,
        digest: &Digest,
        home: Option<&str>,
        in_use: &BTreeSet<Digest>,
    ) -> Result<Removal, ImageError> {
        if self.blob_length(digest).is_none() {
            return Ok(Removal::Missing);
        }
        if in_use.iter().any(|top| self.leads(top, digest)) {
            return Ok(Removal::InUse);
        }
        let (mut own, mut elsewhere) = (Vec::new(), false);
        for tagged in self.names() {
            let at_home = home == Some(tagged.name.home().as_str());
            if at_home && tagged.digest == *digest {
                own.push(tagged.name);
            } else if self.leads(&tagged.digest, digest) {
                if at_home || home.is_none() {
                    return Ok(Removal::Named(tagged.name));
                }
                elsewhere = true;
            }
        }
        for name in own {
            self.untag(&name)?;
        }
        if elsewhere {
            return Ok(Removal::Done);
        }
        let path = self.blob_path(digest);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(ImageError::io("cannot remove", &path)(error))
            }
            _ => Ok(Removal::Done),
        }
    }

    /// Whether a manifest is this blob or has it somewhere below.
    pub fn leads(&self, top: &Digest, digest: &Digest) -> bool {
        let mut below = BTreeSet::new();
        // What cannot be read may need anything.
        self.mark(top, &mut below).is_err() || below.contains(digest)
    }
}

// === impl ImageRef ===

impl ImageRef {
    /// Registry and repository, without tag and digest: `r.example.net/team/hello`.
    pub fn home(&self) -> String {
        format!("{}/{}", self.registry(), self.repository())
    }
}
