//! `index.json` of the layout: which names there are.

use std::{collections::BTreeMap, fs, io, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Digest, ImageError, ImageRef, blob::replace_file, manifest::OCI_INDEX};

/// The annotation of the OCI layout specification for a name.
const NAME: &str = "org.opencontainers.image.ref.name";
/// hob's own: how the image came here.
const ORIGIN: &str = "dev.hob.origin";

/// Most names, since all of them are in one file.
const NAMES_MAX: usize = 10_000;

/// A name and what it points to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged {
    /// The name.
    pub name: ImageRef,
    /// The manifest or index.
    pub digest: Digest,
    /// Media type of that.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// How it came here.
    pub origin: Origin,
}

/// How an image came to this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// From a registry, where it can be had again.
    Pulled,
    /// Built here, loaded from a file, or pushed to this machine: this may be the only copy.
    Local,
}

/// The names, in memory and on the disk.
#[derive(Debug)]
pub(crate) struct Index {
    path: PathBuf,
    names: BTreeMap<String, Tagged>,
    /// Entries of other tools, which have no name that hob can read.
    foreign: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    schema_version: u32,
    media_type: Option<String>,
    manifests: Vec<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
}

// === impl Index ===

impl Index {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            names: BTreeMap::new(),
            foreign: Vec::new(),
        }
    }

    pub(crate) fn load(&mut self) -> Result<(), ImageError> {
        let bytes = match fs::read(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.save(),
            bytes => bytes.map_err(ImageError::io("cannot read", &self.path))?,
        };
        let file: File = serde_json::from_slice(&bytes)
            .map_err(io::Error::from)
            .map_err(ImageError::io("cannot understand", &self.path))?;
        for value in file.manifests {
            match read(&value) {
                Some(tagged) => {
                    self.names.insert(tagged.name.to_string(), tagged);
                }
                None => self.foreign.push(value),
            }
        }
        Ok(())
    }

    pub(crate) fn all(&self) -> Vec<Tagged> {
        self.names.values().cloned().collect()
    }

    /// Digests that entries of other tools point to.
    pub(crate) fn foreign(&self) -> impl Iterator<Item = Digest> {
        let digests = self.foreign.iter().map(|value| value["digest"].as_str());
        digests.filter_map(|digest| digest?.parse().ok())
    }

    pub(crate) fn get(&self, name: &ImageRef) -> Option<Tagged> {
        self.names.get(&name.to_string()).cloned()
    }

    pub(crate) fn put(&mut self, tagged: Tagged) -> Result<(), ImageError> {
        let name = tagged.name.to_string();
        if self.names.get(&name) == Some(&tagged) {
            return Ok(());
        }
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(&name) {
            return Err(ImageError::TooManyNames(NAMES_MAX));
        }
        let former = self.names.insert(name.clone(), tagged);
        self.save().inspect_err(|_| {
            match former {
                Some(former) => self.names.insert(name, former),
                None => self.names.remove(&name),
            };
        })
    }

    pub(crate) fn remove(&mut self, name: &ImageRef) -> Result<bool, ImageError> {
        let name = name.to_string();
        let Some(former) = self.names.remove(&name) else {
            return Ok(false);
        };
        self.save().inspect_err(|_| {
            self.names.insert(name, former);
        })?;
        Ok(true)
    }

    fn save(&self) -> Result<(), ImageError> {
        to_json(self.foreign.clone(), self.names.values())
            .and_then(|bytes| replace_file(&self.path, &bytes))
            .map_err(ImageError::io("cannot write", &self.path))
    }
}

/// `index.json` with these entries of other tools and these names.
pub(crate) fn to_json<'a>(
    foreign: Vec<serde_json::Value>,
    names: impl IntoIterator<Item = &'a Tagged>,
) -> io::Result<Vec<u8>> {
    let mut manifests = foreign;
    let names = names.into_iter();
    manifests.extend(names.map(|tagged| serde_json::json!(write(tagged))));
    let file = File {
        schema_version: 2,
        media_type: Some(OCI_INDEX.into()),
        manifests,
    };
    serde_json::to_vec_pretty(&file).map_err(io::Error::from)
}

fn read(value: &serde_json::Value) -> Option<Tagged> {
    let entry = Entry::deserialize(value).ok()?;
    let origin = entry.annotations.get(ORIGIN).map(String::as_str);
    Some(Tagged {
        name: entry.annotations.get(NAME)?.parse().ok()?,
        digest: entry.digest,
        media_type: entry.media_type,
        size: entry.size,
        origin: match origin {
            Some("pulled") => Origin::Pulled,
            _ => Origin::Local,
        },
    })
}

fn write(tagged: &Tagged) -> Entry {
    let origin = match tagged.origin {
        Origin::Pulled => "pulled",
        Origin::Local => "local",
    };
    Entry {
        media_type: tagged.media_type.clone(),
        digest: tagged.digest.clone(),
        size: tagged.size,
        annotations: BTreeMap::from([
            (NAME.to_owned(), tagged.name.to_string()),
            (ORIGIN.to_owned(), origin.to_owned()),
        ]),
    }
}
