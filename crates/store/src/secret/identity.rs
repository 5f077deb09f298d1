use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use age::{secrecy::ExposeSecret, x25519};
use zeroize::Zeroizing;

use crate::{StoreError, durable};

/// The key file, read when a secret is first needed.
pub(super) struct Identities {
    path: PathBuf,
    loaded: Mutex<Option<Arc<Key>>>,
}

/// The identities of one file: the first locks, each opens.
pub(super) struct Key(Vec<x25519::Identity>);

// === impl Identities ===

impl Identities {
    pub(super) fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            loaded: Mutex::new(None),
        }
    }

    /// The key, if its file is there.
    pub(super) fn load(&self) -> Result<Option<Arc<Key>>, StoreError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded.is_none() {
            *loaded = match fs::read_to_string(&self.path).map(Zeroizing::new) {
                Ok(text) => Some(Arc::new(Key::parse(&text, &self.path)?)),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(StoreError::io("read", &self.path)(error)),
            };
        }
        Ok(loaded.clone())
    }

    /// Makes the key file, as `age-keygen -o` does.
    pub(super) fn create(&self) -> Result<Arc<Key>, StoreError> {
        let identity = x25519::Identity::generate();
        let text = Zeroizing::new(format!(
            "# created: {}\n# public key: {}\n{}\n",
            humantime::format_rfc3339_seconds(SystemTime::now().max(SystemTime::UNIX_EPOCH)),
            identity.to_public(),
            identity.to_string().expose_secret(),
        ));
        let invalid = || self.unusable("its path names no file");
        let folder = self.path.parent().ok_or_else(invalid)?;
        let name = self.path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(invalid)?;
        durable::replace(folder, name, &format!(".{name}.draft"), text.as_bytes())?;
        let key = Arc::new(Key(vec![identity]));
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        *loaded = Some(Arc::clone(&key));
        Ok(key)
    }

    pub(super) fn missing(&self) -> StoreError {
        StoreError::IdentityMissing {
            path: self.path.clone(),
        }
    }

    fn unusable(&self, problem: &'static str) -> StoreError {
        StoreError::Identity {
            path: self.path.clone(),
            problem,
        }
    }
}

// === impl Key ===

impl Key {
    fn parse(text: &str, path: &Path) -> Result<Self, StoreError> {
        let unusable = |problem| StoreError::Identity {
            path: path.to_owned(),
            problem,
        };
        let lines = text.lines().map(str::trim);
        let keys = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<x25519::Identity>, _> = keys.map(str::parse).collect();
        let keys = keys.map_err(|_| unusable("it needs lines that begin with AGE-SECRET-KEY-1"))?;
        if keys.is_empty() {
            return Err(unusable("it is empty"));
        }
        Ok(Self(keys))
    }

    pub(super) fn seal(&self, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        age::encrypt(&self.0[0].to_public(), value).map_err(|error| StoreError::Crypto {
            action: "encrypt the secret",
            problem: error.to_string(),
        })
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| identity as &dyn age::Identity)
    }
}
