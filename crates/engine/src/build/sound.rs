//! Whether a bundle is still what was built.

use std::{fs, io, path::Path};

use hob_model::Revision;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{
    record::{beside, write_json},
    tree::{Tree, hex},
};

/// What is written down beside a bundle. Those of an older hob say nothing of their content.
#[derive(Serialize, Deserialize)]
struct Noted {
    #[serde(flatten)]
    revision: Revision,
    #[serde(default)]
    content: Option<Content>,
}

/// By which damage is told: all files but the installed dependencies, which may be very many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Content {
    /// The folder at the top that does not count.
    pub(super) without: Option<String>,
    /// SHA-256 of all else, in lower-case hex.
    pub(super) sha256: String,
}

/// Writes down how a bundle is run and what is in it.
pub(super) fn note(bundle: &Path, revision: &Revision, content: Content) -> io::Result<()> {
    let noted = Noted {
        revision: revision.clone(),
        content: Some(content),
    };
    write_json(&beside(bundle), &noted)
}

/// Whether a file of its own is not what it was when it was built. Reads all of them; false where
/// nobody can tell.
pub(crate) fn is_damaged(bundle: &Path) -> bool {
    let noted = fs::read(beside(bundle)).ok();
    let noted = noted.and_then(|json| serde_json::from_slice::<Noted>(&json).ok());
    let Some(content) = noted.and_then(|noted| noted.content) else {
        return false;
    };
    let found = Tree::read(bundle, content.without.as_deref()).and_then(|tree| {
        let mut hash = Sha256::new();
        tree.digest(&mut hash)?;
        Ok(hex(hash))
    });
    // What the disk does not give back any more is not what it was.
    found.ok().as_ref() != Some(&content.sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_hob_has_noted_says_nothing_of_damage() {
        let place = tempfile::tempdir().expect("temp dir");
        let bundle = place.path().join("abc");
        fs::create_dir(&bundle).expect("folder");
        assert!(!is_damaged(&bundle));
        fs::write(beside(&bundle), "{}").expect("file");
        assert!(!is_damaged(&bundle));
    }
}
