use std::sync::{Arc, Mutex, PoisonError};

use hob_store::{Store, StoreError};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::{runtime::Handle, sync::Semaphore};

use crate::control::blocking;

/// Passwords hashed at a time: each takes some 20 MiB and a core.
const AT_ONCE: usize = 1;
/// Passwords that may wait for their turn. More are refused at once, so that guessing costs the
/// server neither memory nor connections.
const WAITING: usize = 8;
/// Longest password that is looked at, in bytes.
const LONGEST: usize = 256;

/// Decides whether somebody knows the admin password.
pub(crate) struct Gate {
    store: Store,
    /// Makes the fingerprints worthless outside this process.
    key: [u8; 32],
    /// Fingerprint of the password that was last found right, so that only the first call of a
    /// client pays for argon2id.
    good: Mutex<Option<[u8; 32]>>,
    turns: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// Why somebody stays outside.
#[derive(Debug, Error)]
pub(crate) enum GateError {
    /// The password is not the one.
    #[error("wrong password")]
    Wrong,
    /// Too many try at once.
    #[error("too many logins at once")]
    Busy,
    /// The hash cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Gate {
    pub(crate) fn new(store: Store) -> Self {
        let mut key = [0; 32];
        // Without a random source the key is all zeros and the fingerprints, which never leave
        // the memory of this process, are plain SHA-256.
        let _ = getrandom::fill(&mut key);
        Self {
            store,
            key,
            good: Mutex::new(None),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(WAITING)),
        }
    }

    /// `Ok` when `password` is the admin's.
    pub(crate) async fn check(&self, runtime: &Handle, password: &[u8]) -> Result<(), GateError> {
        let fingerprint = self.fingerprint(password);
        if self.is_good(&fingerprint) {
            return Ok(());
        }
        if password.len() > LONGEST {
            return Err(GateError::Wrong);
        }
        let queue = Arc::clone(&self.queue).try_acquire_owned();
        let queue = queue.map_err(|_| GateError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| GateError::Busy)?;
        if self.is_good(&fingerprint) {
            return Ok(());
        }
        let (store, password) = (self.store.clone(), password.to_owned());
        let right = blocking(runtime, move || {
            let hash = store.admin_password_hash()?;
            let right = hash.is_some_and(|hash| hash.verify(&password));
            // Held here, since a caller that leaves does not stop the hashing.
            drop((queue, turn));
            Ok::<_, StoreError>(right)
        });
        if !right.await? {
            return Err(GateError::Wrong);
        }
        *self.good.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        Ok(())
    }

    fn is_good(&self, fingerprint: &[u8; 32]) -> bool {
        let good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        good.is_some_and(|good| good.ct_eq(fingerprint).into())
    }

    fn fingerprint(&self, password: &[u8]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.key);
        digest.update(password);
        digest.finalize().into()
    }
}
