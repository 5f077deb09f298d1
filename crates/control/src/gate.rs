use std::sync::{Arc, Mutex, PoisonError};

use hob_store::{AdminPassword, Store, StoreError};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use thiserror::Error;
use tokio::{runtime::Handle, sync::Semaphore};
use zeroize::Zeroizing;

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
    /// client pays for argon2id. Changed only by whoever has a turn.
    good: Arc<Mutex<Option<[u8; 32]>>>,
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
            good: Arc::default(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// `Ok` when `password` is the admin's and it is the admin who is `named` with it. To find out
    /// that it is not takes the same time either way.
    pub(crate) async fn check(
        &self,
        runtime: &Handle,
        named: bool,
        password: &[u8],
    ) -> Result<(), GateError> {
        let fingerprint = self.fingerprint(password);
        if named && self.is_good(&fingerprint) {
            return Ok(());
        }
        if password.len() > LONGEST {
            return Err(GateError::Wrong);
        }
        let queue = Arc::clone(&self.queue).try_acquire_owned();
        let queue = queue.map_err(|_| GateError::Busy)?;
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| GateError::Busy)?;
        if named && self.is_good(&fingerprint) {
            return Ok(());
        }
        let (store, good) = (self.store.clone(), Arc::clone(&self.good));
        let password = Zeroizing::new(password.to_owned());
        let right = blocking(runtime, move || {
            let hash = store.admin_password_hash()?;
            let right = named & hash.is_some_and(|hash| hash.verify(&password));
            if right {
                set(&good, Some(fingerprint));
            }
            // Held until here, since a caller that leaves does not stop the hashing, and a new
            // password must not be followed by the memory of the former one.
            drop((queue, turn));
            Ok::<_, StoreError>(right)
        });
        if right.await? {
            return Ok(());
        }
        Err(GateError::Wrong)
    }

    /// Makes `password` the one that counts, from the return on, whoever knew the former one.
    pub(crate) async fn change(
        &self,
        runtime: &Handle,
        password: AdminPassword,
    ) -> Result<(), GateError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| GateError::Busy)?;
        let (store, good) = (self.store.clone(), Arc::clone(&self.good));
        let changed = blocking(runtime, move || {
            let hash = password.hash()?;
            store.set_admin_password_hash(&hash)?;
            set(&good, None);
            drop(turn);
            Ok::<_, StoreError>(())
        });
        Ok(changed.await?)
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

fn set(good: &Mutex<Option<[u8; 32]>>, fingerprint: Option<[u8; 32]>) {
    *good.lock().unwrap_or_else(PoisonError::into_inner) = fingerprint;
}
