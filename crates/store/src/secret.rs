mod identity;

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use age::{Decryptor, armor::ArmoredReader};
use hob_model::{
    Label, SecretName,
    port::{SecretBytes, SecretError, Secrets},
    wire::SecretSummary,
};

use crate::{StoreError, durable};
use identity::Identities;

/// What follows a secret's name in the name of its file.
const SUFFIX: &str = ".age";
/// A file system's longest name is 255 bytes, and the suffix needs its part.
const LONGEST_NAME: usize = 255 - SUFFIX.len();
/// What a value is written to before it takes its place; no secret can be called so.
const DRAFT: &str = ".draft";
/// An age file is larger than its content: header, recipients, ASCII armor.
const LARGEST_FILE: u64 = 2 * SecretStore::LARGEST as u64;

/// The secrets, each in an age file `<namespace>/<name>.age` that `age -d -i identity.txt`
/// opens. Files that somebody made with `age` itself count as well.
pub struct SecretStore {
    folder: PathBuf,
    identities: Identities,
    /// One writer at a time, so that all can share [`DRAFT`].
    writing: Mutex<()>,
}

/// What became of a secret that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// There was none of that name.
    New,
    /// It has a new value.
    Updated,
}

// === impl SecretStore ===

impl SecretStore {
    /// Most bytes that a secret may have: 1 MiB.
    pub const LARGEST: usize = 1 << 20;

    /// Keeps secrets in `folder`, locked by the key in the file `identity`, which is made when
    /// the first secret is set. Both may be moved or restored while nothing runs.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(folder: &Path, identity: &Path) -> Result<Self, StoreError> {
        durable::private_folder(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
            identities: Identities::at(identity),
            writing: Mutex::new(()),
        })
    }

    /// Keeps exactly `value`.
    ///
    /// # Errors
    /// When the value is empty or too large, the key is missing or the disk refuses; then the
    /// former value stands.
    pub fn set(
        &self,
        namespace: &Label,
        name: &SecretName,
        value: &[u8],
    ) -> Result<Written, StoreError> {
        check(name, value)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(namespace, name, value)
    }

    /// Keeps exactly `value` if that would be `only` what becomes of the secret; false when it
    /// would be the other, and nothing was changed.
    ///
    /// # Errors
    /// As [`SecretStore::set`].
    pub fn set_only(
        &self,
        only: Written,
        namespace: &Label,
        name: &SecretName,
        value: &[u8],
    ) -> Result<bool, StoreError> {
        check(name, value)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.holds(namespace, name) != (only == Written::Updated) {
            return Ok(false);
        }
        self.write(namespace, name, value).map(|_| true)
    }

    /// The caller holds `writing`.
    fn write(
        &self,
        namespace: &Label,
        name: &SecretName,
        value: &[u8],
    ) -> Result<Written, StoreError> {
        let key = match self.identities.load()? {
            Some(key) => key,
            None if !self.namespaces()?.is_empty() => return Err(self.identities.missing()),
            None => self.identities.create()?,
        };
        let sealed = key.seal(value)?;
        let folder = self.folder.join(namespace.as_str());
        durable::private_folder(&folder)?;
        let existed = self.holds(namespace, name);
        durable::replace(&folder, &file_name(name), DRAFT, &sealed)?;
        Ok(if existed {
            Written::Updated
        } else {
            Written::New
        })
    }

    /// Deletes a secret; false when there is none of that name.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, namespace: &Label, name: &SecretName) -> Result<bool, StoreError> {
        if name.as_str().len() > LONGEST_NAME {
            return Ok(false);
        }
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        durable::remove(&self.folder.join(namespace.as_str()), &file_name(name))
    }

    /// Deletes all secrets of a namespace.
    ///
    /// # Errors
    /// When the disk refuses; then some may be left.
    pub fn remove_all(&self, namespace: &Label) -> Result<(), StoreError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = self.folder.join(namespace.as_str());
        for name in secret_names(&folder)? {
            durable::remove(&folder, &file_name(&name))?;
        }
        Ok(())
    }

    /// The secrets of a namespace, sorted by name. Whatever is no `NAME.age` is passed by.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self, namespace: &Label) -> Result<Vec<SecretSummary>, StoreError> {
        let folder = self.folder.join(namespace.as_str());
        let mut secrets: Vec<_> = secret_names(&folder)?
            .into_iter()
            .map(|name| SecretSummary {
                name: name.as_str().to_owned(),
                namespace: namespace.as_str().to_owned(),
            })
            .collect();
        secrets.sort_by(|one, two| one.name.cmp(&two.name));
        Ok(secrets)
    }

    /// The namespaces with at least one secret, sorted.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn namespaces(&self) -> Result<Vec<String>, StoreError> {
        let entries = fs::read_dir(&self.folder).map_err(StoreError::io("read", &self.folder))?;
        let mut names = Vec::new();
        for entry in entries.flatten() {
            if entry.path().is_dir()
                && !secret_names(&entry.path())?.is_empty()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether there is a secret of that name, readable or not.
    pub fn holds(&self, namespace: &Label, name: &SecretName) -> bool {
        let folder = self.folder.join(namespace.as_str());
        folder.join(file_name(name)).exists()
    }

    fn open_file(&self, path: &Path) -> Result<SecretBytes, String> {
        let sealed = read_bounded(path)?;
        let key = self.identities.load().map_err(|error| error.to_string())?;
        let key = key.ok_or_else(|| self.identities.missing().to_string())?;
        let reader = Decryptor::new_buffered(ArmoredReader::new(&sealed[..]))
            .and_then(|decryptor| decryptor.decrypt(key.all()))
            .map_err(|error| one_line(&error.to_string()))?;
        // Room for all from the start: growing would leave copies behind in freed memory.
        let mut value = Vec::with_capacity(sealed.len());
        let read = reader
            .take(SecretStore::LARGEST as u64 + 1)
            .read_to_end(&mut value);
        let value = SecretBytes::new(value);
        read.map_err(|error| one_line(&error.to_string()))?;
        if value.expose().len() > Self::LARGEST {
            return Err(format!("it is over {} bytes", Self::LARGEST));
        }
        Ok(value)
    }
}

impl Secrets for SecretStore {
    fn reveal(&self, namespace: &str, name: &SecretName) -> Result<SecretBytes, SecretError> {
        let not_found = || SecretError::NotFound {
            namespace: namespace.to_owned(),
            name: name.clone(),
        };
        let namespace: Label = namespace.parse().map_err(|_| not_found())?;
        let path = self.folder.join(namespace.as_str()).join(file_name(name));
        if name.as_str().len() > LONGEST_NAME || !path.exists() {
            return Err(not_found());
        }
        self.open_file(&path)
            .map_err(|problem| SecretError::Unreadable {
                name: name.clone(),
                problem,
            })
    }
}

impl std::fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretStore({})", self.folder.display())
    }
}

fn check(name: &SecretName, value: &[u8]) -> Result<(), StoreError> {
    if name.as_str().len() > LONGEST_NAME {
        return Err(StoreError::SecretNameTooLong {
            name: name.to_string(),
            limit: LONGEST_NAME,
        });
    }
    if value.is_empty() {
        return Err(StoreError::SecretEmpty(name.to_string()));
    }
    if value.len() > SecretStore::LARGEST {
        return Err(StoreError::SecretTooLarge {
            name: name.to_string(),
            limit: SecretStore::LARGEST,
        });
    }
    Ok(())
}

fn file_name(name: &SecretName) -> String {
    format!("{name}{SUFFIX}")
}

fn secret_names(folder: &Path) -> Result<Vec<SecretName>, StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", folder)(error)),
    };
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name();
        let name = name.to_str()?.strip_suffix(SUFFIX)?.parse().ok()?;
        entry.path().is_file().then_some(name)
    });
    Ok(names.collect())
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, String> {
    let mut sealed = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST_FILE).read_to_end(&mut sealed))
        .map_err(|error| format!("`{}`: {error}", path.display()))?;
    Ok(sealed)
}

/// The age library explains itself in several lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
