//! Reading the index of an OCI layout.

use std::collections::HashMap;

use super::{CONTAINERD_NAME, Found, INDEX, REF_NAME};
use crate::{ArchiveError, ImageError, ImageRef, Manifest, manifest::digest_of};

/// The images that `index.json` names.
pub(super) fn images(index: &[u8]) -> Result<Vec<Found>, ImageError> {
    let refuse = || ImageError::manifest(INDEX);
    let Manifest::Index(index) = Manifest::parse(index).map_err(refuse())? else {
        return Err(ArchiveError::entry(INDEX, "is no index").into());
    };
    let mut images: Vec<Found> = Vec::new();
    for entry in index.manifests() {
        let digest = digest_of(entry).map_err(refuse())?;
        let none = HashMap::new();
        let annotations = entry.annotations().as_ref().unwrap_or(&none);
        let label = annotations.get(REF_NAME).cloned();
        let name = match annotations.get(CONTAINERD_NAME) {
            Some(name) => Some(name.as_str()),
            // Many tools write the tag only, which would be taken for a name.
            None => label.as_deref().filter(|name| name.contains(['/', ':'])),
        };
        let name = name.map(str::parse::<ImageRef>).transpose();
        let name = name.map_err(|error| ArchiveError::entry(INDEX, error.to_string()))?;
        match images.iter_mut().find(|found| found.digest == digest) {
            Some(found) => found.names.extend(name),
            None => images.push(Found {
                digest,
                names: name.into_iter().collect(),
                label,
            }),
        }
    }
    Ok(images)
}
