//! What stands before the builder: who may use it, and how many at once.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use hob_model::{
    Label, SecretName,
    port::{SecretBytes, SecretError, Secrets},
};
use hob_store::{SecretStore, StoreError};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::sealed::KeyPair;

/// The namespace of the builder's secrets. No function can be deployed to it.
pub(crate) const NAMESPACE: &str = "openfaas";
/// The secret that its users sign with, set by the owner.
const PAYLOAD_SECRET: &str = "payload-secret";
/// The secret half of the key that build secrets are sealed for, made by hob.
const BUILDER_KEY: &str = "builder-key";
/// Fewest bytes of a payload secret: whoever has it runs programs here, and whoever sees one
/// signed request can guess at it at leisure.
const SHORTEST: usize = 16;
/// Requests from their first byte to the end of their build. More are refused.
const UNDER_WAY: usize = 16;
/// Bodies that come in at the same time; more wait. Anybody can send one, and each may fill a
/// file before its signature turns out to be wrong.
const RECEIVING: usize = 4;
/// What a signature begins with.
const SCHEME: &str = "sha256=";

/// The builder's door.
pub(crate) struct RemoteBuilds {
    under_way: Arc<Semaphore>,
    receiving: Arc<Semaphore>,
    /// So that one key is made, whoever asks first.
    making_key: Mutex<()>,
}

/// What a sender says of a body: its HMAC-SHA256.
pub(crate) struct Signature([u8; 32]);

/// Finds out over the parts of a body whether it is what was signed.
pub(crate) struct Verifier(Context);

/// Why nobody can use the builder.
#[derive(Debug, Error)]
pub(crate) enum BuilderOff {
    /// The owner has not switched it on.
    #[error(
        "it is switched on by a payload secret: `openssl rand -hex 32 | hob secret set {PAYLOAD_SECRET} --namespace {NAMESPACE}`"
    )]
    NoSecret,
    /// It would not keep anybody out.
    #[error("secret `{PAYLOAD_SECRET}` is shorter than {SHORTEST} bytes: set a longer one")]
    Short,
    /// It is there and cannot be opened.
    #[error(transparent)]
    Unreadable(SecretError),
}

/// Why there is no key to seal secrets for.
#[derive(Debug, Error)]
pub(crate) enum KeyError {
    /// It is there and cannot be read.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A new one cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// === impl RemoteBuilds ===

impl Default for RemoteBuilds {
    fn default() -> Self {
        Self {
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            receiving: Arc::new(Semaphore::new(RECEIVING)),
            making_key: Mutex::new(()),
        }
    }
}

impl RemoteBuilds {
    /// A place for a request until its build is done; `None` when there are too many.
    pub(crate) fn enter(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.under_way).try_acquire_owned().ok()
    }

    /// Waits until a body may come in; never `None`, since nobody closes the turns.
    pub(crate) async fn receiving(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.receiving).acquire_owned().await.ok()
    }

    /// The key pair, made now if there is none.
    ///
    /// # Errors
    /// When the secrets cannot be read or written.
    pub(crate) fn key_pair(&self, secrets: &SecretStore) -> Result<KeyPair, KeyError> {
        let _making = self
            .making_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let name = secret_name(BUILDER_KEY);
        match secrets.reveal(NAMESPACE, &name) {
            Ok(text) => KeyPair::read(&text).ok_or_else(|| {
                KeyError::Secret(SecretError::Unreadable {
                    problem: format!(
                        "it is no key: `hob secret remove {name} --namespace {NAMESPACE}` makes room for a new one"
                    ),
                    name,
                })
            }),
            Err(SecretError::NotFound { .. }) => {
                let pair = KeyPair::generate().map_err(|problem| SecretError::Unreadable {
                    problem: format!("it cannot be made: {problem}"),
                    name: name.clone(),
                })?;
                secrets.set(&namespace(), &name, pair.text().expose())?;
                Ok(pair)
            }
            Err(error) => Err(error.into()),
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// With the payload secret, without the space around it, as its users read theirs.
    ///
    /// # Errors
    /// When there is none that is good enough.
    pub(crate) fn new(secrets: &SecretStore) -> Result<Self, BuilderOff> {
        let secret = secrets.reveal(NAMESPACE, &secret_name(PAYLOAD_SECRET));
        let secret: SecretBytes = secret.map_err(|error| match error {
            SecretError::NotFound { .. } => BuilderOff::NoSecret,
            error @ SecretError::Unreadable { .. } => BuilderOff::Unreadable(error),
        })?;
        let key = secret.expose().trim_ascii();
        if key.len() < SHORTEST {
            return Err(BuilderOff::Short);
        }
        let key = Key::new(HMAC_SHA256, key);
        Ok(Self(Context::with_key(&key)))
    }

    /// Takes in the next part of the body.
    pub(crate) fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// Whether all that was taken in is what was signed. The time it takes tells nothing.
    pub(crate) fn accepts(self, signature: &Signature) -> bool {
        self.0.sign().as_ref().ct_eq(&signature.0).into()
    }
}

// === impl Signature ===

impl Signature {
    /// Reads `sha256=` and 64 hexadecimal digits.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text.strip_prefix(SCHEME)?, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

fn secret_name(name: &str) -> SecretName {
    #[expect(clippy::expect_used, reason = "a test reads both names")]
    name.parse().expect("a constant that a test reads")
}

fn namespace() -> Label {
    #[expect(clippy::expect_used, reason = "a test reads it")]
    NAMESPACE.parse().expect("a constant that a test reads")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(folder: &tempfile::TempDir) -> SecretStore {
        let folder = folder.path();
        SecretStore::open(&folder.join("secrets"), &folder.join("identity.txt")).expect("opens")
    }

    fn accepts(store: &SecretStore, body: &[&str], signature: &str) -> bool {
        let mut verifier = Verifier::new(store).expect("a secret");
        for part in body {
            verifier.update(part.as_bytes());
        }
        verifier.accepts(&Signature::read(signature).expect("a signature"))
    }

    #[test]
    fn only_what_was_signed_is_accepted() {
        let folder = tempfile::tempdir().expect("temp dir");
        let store = secrets(&folder);
        assert!(matches!(Verifier::new(&store), Err(BuilderOff::NoSecret)));
        let name = secret_name(PAYLOAD_SECRET);
        let short = store.set(&namespace(), &name, b"fifteen bytes..\n");
        short.expect("sets");
        assert!(matches!(Verifier::new(&store), Err(BuilderOff::Short)));
        // RFC 4231, test case 3: key and data; with the newline that a file ends with.
        let mut key = [0xaa; 20].to_vec();
        key.push(b'\n');
        store.set(&namespace(), &name, &key).expect("sets");
        let body = [0xdd; 50].map(|byte| byte);
        let right = "sha256=773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe";
        let mut verifier = Verifier::new(&store).expect("a secret");
        verifier.update(&body[..7]);
        verifier.update(&body[7..]);
        assert!(verifier.accepts(&Signature::read(right).expect("a signature")));
        assert!(!accepts(&store, &["else"], right));
        for wrong in ["", "sha256=", "sha1=00", "773ea9", &right[..70]] {
            assert!(Signature::read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn one_key_is_made_and_kept() {
        let folder = tempfile::tempdir().expect("temp dir");
        let store = secrets(&folder);
        let builds = RemoteBuilds::default();
        let first = builds.key_pair(&store).expect("a key").public_key();
        let again = builds.key_pair(&store).expect("a key").public_key();
        assert_eq!(first, again);
        let name = secret_name(BUILDER_KEY);
        store.set(&namespace(), &name, b"no key").expect("sets");
        let error = builds.key_pair(&store).err().expect("no key").to_string();
        assert!(error.contains("hob secret remove builder-key"), "{error}");
        store.remove(&namespace(), &name).expect("removes");
        let other = builds.key_pair(&store).expect("a key").public_key();
        assert_ne!(first, other);
    }
}
