//! Images as one file: a tar of an OCI layout, as `skopeo`, `podman` and `docker` read and write it.

mod docker;
mod error;
mod files;
mod layout;
mod metered;
mod save;
mod selection;

use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufReader, Read},
};

use flate2::bufread::MultiGzDecoder;

pub use error::ArchiveError;
use files::Files;
pub use metered::{Allowance, Metered};

use crate::{Digest, ImageError, ImageRef, ImageStore, MANIFEST_MAX, Origin, Tagged};

/// The file that says what an OCI layout holds.
const INDEX: &str = "index.json";
/// The file that says which version an OCI layout has.
const LAYOUT: &str = "oci-layout";
/// The file that says what an archive of `docker save` holds.
const DOCKER: &str = "manifest.json";
/// Annotation of the OCI layout specification for a name, or for a tag only.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation that Docker and containerd write for a whole name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// How a gzip file begins (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// An image of an archive, with all the names that it has there.
#[derive(Debug)]
struct Found {
    /// The manifest or index in the archive.
    digest: Digest,
    /// May be none.
    names: Vec<ImageRef>,
    /// What the archive calls it where that is no whole name; for the message.
    label: Option<String>,
}

// === impl ImageStore ===

impl ImageStore {
    /// Takes images from an archive: an OCI layout in a tar, or what `docker save` writes; gzip
    /// around it does no harm. They get the names that they have there, or `name` if the archive
    /// holds one image. Blobs are checked as they come, and names are set when everything is
    /// here. The caller holds the store; blobs of an archive that is refused go with the next
    /// prune.
    ///
    /// # Errors
    /// [`ArchiveError`] names the entry and the rule that it breaks; or there is no room, or a
    /// blob is damaged.
    pub fn load(
        &self,
        input: impl Read,
        name: Option<&ImageRef>,
    ) -> Result<Vec<Tagged>, ImageError> {
        let mut input = BufReader::new(input);
        let start = input.fill_buf().map_err(ArchiveError::broken)?;
        let files = if start.starts_with(&GZIP) {
            Files::read(self, MultiGzDecoder::new(input))?
        } else {
            Files::read(self, input)?
        };
        let found = if let Some(index) = files.text(INDEX) {
            layout::images(index)?
        } else if let Some(manifest) = files.text(DOCKER) {
            docker::images(self, manifest, &files)?
        } else {
            return Err(ArchiveError::NoImage.into());
        };
        let mut tagged = Vec::new();
        for (name, digest) in named(found, name)? {
            let selection = self.select(&digest, &name.to_string())?;
            tagged.push(Tagged {
                media_type: selection.media_type,
                digest: selection.digest,
                size: selection.size,
                origin: Origin::Local,
                name,
            });
        }
        // Nothing is refused from here on.
        for tagged in &tagged {
            self.tag(tagged.clone())?;
        }
        Ok(tagged)
    }
}

/// Which name points to which digest, in the order of the archive.
fn named(
    found: Vec<Found>,
    given: Option<&ImageRef>,
) -> Result<Vec<(ImageRef, Digest)>, ArchiveError> {
    let first = found.first().ok_or(ArchiveError::NoImage)?;
    if let Some(name) = given {
        if found.iter().any(|other| other.digest != first.digest) {
            let names = found.iter().flat_map(|found| &found.names);
            let names = names.map(ToString::to_string).collect();
            return Err(ArchiveError::SeveralImages(names));
        }
        return Ok(vec![(name.clone(), first.digest.clone())]);
    }
    let (mut seen, mut named) = (BTreeMap::new(), Vec::new());
    for Found {
        digest,
        names,
        label,
    } in found
    {
        if names.is_empty() {
            return Err(ArchiveError::NoName(label.unwrap_or_default()));
        }
        for name in names {
            match seen.insert(name.to_string(), digest.clone()) {
                None => named.push((name, digest.clone())),
                Some(same) if same == digest => {}
                Some(_) => return Err(ArchiveError::Ambiguous(name.to_string())),
            }
        }
    }
    Ok(named)
}

/// Reads a small file of an archive into memory.
fn read_text(entry: impl Read) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    entry.take(MANIFEST_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}
