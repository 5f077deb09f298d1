use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hob_model::{
    Route, SecretName,
    port::{SecretBytes, Secrets},
};

/// How long after it was read a secret counts: longest time that a changed one goes on to hold.
const HOLDS: Duration = Duration::from_secs(5);
/// After so long it is read again in the background, so that busy functions never wait for it.
const READ_AGAIN: Duration = Duration::from_secs(2);
/// What callers hear of a secret that cannot be read; the log says more.
const UNREADABLE: &str = "a secret that it needs for that cannot be read: see the server's log";

/// The secrets that callers are checked by, in memory for a few seconds: to read one takes the disk
/// and the cipher, and the gateway's threads wait for neither.
pub(super) struct Vault {
    shared: Arc<Shared>,
    /// One is read at a time.
    turn: tokio::sync::Mutex<()>,
}

/// Which secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Ref {
    pub(super) namespace: Box<str>,
    pub(super) name: SecretName,
}

/// What a secret is, or why that is not known.
pub(super) type Revealed = Result<Arc<SecretBytes>, &'static str>;

struct Shared {
    secrets: Arc<dyn Secrets>,
    /// None is older than the last that was read by more than [`HOLDS`]; names come from functions,
    /// never from callers.
    kept: Mutex<HashMap<Ref, Kept>>,
}

struct Kept {
    value: Revealed,
    read_at: Instant,
    /// Whether it is being read again.
    reading: bool,
}

// === impl Ref ===

impl Ref {
    /// A secret of the function's namespace.
    pub(super) fn of(route: &Route, name: &SecretName) -> Self {
        Self {
            namespace: route.function.namespace().into(),
            name: name.clone(),
        }
    }
}

// === impl Vault ===

impl Vault {
    pub(super) fn new(secrets: Arc<dyn Secrets>) -> Self {
        Self {
            shared: Arc::new(Shared {
                secrets,
                kept: Mutex::default(),
            }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What is at hand; `None` when it has to be [`read`](Self::read) first.
    pub(super) fn get(&self, secret: &Ref) -> Option<Revealed> {
        let mut kept = self.shared.kept();
        let found = kept.get_mut(secret)?;
        let age = found.read_at.elapsed();
        if age > HOLDS {
            return None;
        }
        if age > READ_AGAIN && !std::mem::replace(&mut found.reading, true) {
            let (shared, secret) = (Arc::clone(&self.shared), secret.clone());
            tokio::task::spawn_blocking(move || shared.read(secret));
        }
        Some(found.value.clone())
    }

    /// Gets it, however long it takes.
    pub(super) async fn read(&self, secret: &Ref) -> Revealed {
        let _turn = self.turn.lock().await;
        if let Some(value) = self.get(secret) {
            return value;
        }
        let (shared, secret) = (Arc::clone(&self.shared), secret.clone());
        let read = tokio::task::spawn_blocking(move || shared.read(secret));
        read.await.unwrap_or(Err(UNREADABLE))
    }
}

// === impl Shared ===

impl Shared {
    fn kept(&self) -> MutexGuard<'_, HashMap<Ref, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, secret: Ref) -> Revealed {
        let read_at = Instant::now();
        let value = match self.secrets.reveal(&secret.namespace, &secret.name) {
            Ok(value) => Ok(Arc::new(value)),
            Err(error) => {
                tracing::warn!(%error, "callers of a function cannot be checked");
                Err(UNREADABLE)
            }
        };
        let mut kept = self.kept();
        if !kept.contains_key(&secret) {
            kept.retain(|_, kept| kept.read_at.elapsed() <= HOLDS);
        }
        let now = Kept {
            value: value.clone(),
            read_at,
            reading: false,
        };
        kept.insert(secret, now);
        value
    }
}
