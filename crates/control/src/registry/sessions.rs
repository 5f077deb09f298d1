use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hob_image::BlobWriter;
use tokio::time::{Instant, sleep};

use super::{RegistryError, place::Repository};

/// Uploads that are open at once.
const OPEN_MAX: usize = 256;
/// How long an upload is kept of which nothing comes.
const IDLE: Duration = Duration::from_secs(3600);
/// How often it is looked whether one is idle.
const SWEEP: Duration = Duration::from_secs(300);
/// Random bytes of an upload's name.
const ID_BYTES: usize = 16;

/// Uploads that have begun. They are lost when the server stops, and clients begin again.
#[derive(Default)]
pub(super) struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    sweeping: AtomicBool,
}

struct Session {
    repository: Repository,
    touched: Instant,
    /// Bytes that are here, as far as anybody may know.
    length: u64,
    /// `None` while a request writes to it.
    blob: Option<BlobWriter>,
}

/// An upload in the hands of one request; it goes back when this is dropped.
pub(super) struct Taken {
    sessions: Arc<Sessions>,
    pub(super) id: String,
    /// `None` only while it is written to, or after its end.
    pub(super) blob: Option<BlobWriter>,
}

// === impl Sessions ===

impl Sessions {
    /// Begins an upload, of which nothing is here.
    pub(super) fn begin(
        self: &Arc<Self>,
        repository: Repository,
        blob: BlobWriter,
    ) -> Result<String, RegistryError> {
        let mut random = [0; ID_BYTES];
        getrandom::fill(&mut random).map_err(|error| RegistryError::Io {
            action: "name an upload",
            source: std::io::Error::other(error.to_string()),
        })?;
        let id: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        self.sweep();
        let mut open = self.open();
        if open.len() >= OPEN_MAX {
            return Err(RegistryError::Crowded("too many uploads are open"));
        }
        let session = Session {
            repository,
            touched: Instant::now(),
            length: 0,
            blob: Some(blob),
        };
        open.insert(id.clone(), session);
        drop(open);
        if !self.sweeping.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep_sweeping(Arc::downgrade(self)));
        }
        Ok(id)
    }

    /// Takes an upload to write to it.
    pub(super) fn take(
        self: &Arc<Self>,
        repository: &Repository,
        id: &str,
    ) -> Result<Taken, RegistryError> {
        let mut open = self.open();
        let session = find(&mut open, repository, id)?;
        let blob = session.blob.take();
        let blob = blob.ok_or(RegistryError::Crowded("the upload is being written to"))?;
        Ok(Taken {
            sessions: Arc::clone(self),
            id: id.to_owned(),
            blob: Some(blob),
        })
    }

    /// How many bytes of an upload are here.
    pub(super) fn length(&self, repository: &Repository, id: &str) -> Result<u64, RegistryError> {
        let mut open = self.open();
        let session = find(&mut open, repository, id)?;
        session.touched = Instant::now();
        Ok(session.length)
    }

    /// Forgets an upload, unless a request writes to it.
    pub(super) fn cancel(&self, repository: &Repository, id: &str) -> Result<(), RegistryError> {
        let mut open = self.open();
        if find(&mut open, repository, id)?.blob.is_none() {
            return Err(RegistryError::Crowded("the upload is being written to"));
        }
        open.remove(id);
        Ok(())
    }

    /// Forgets what is idle. Returns whether anything is left.
    fn sweep(&self) -> bool {
        let mut open = self.open();
        open.retain(|_, session| session.blob.is_none() || session.touched.elapsed() < IDLE);
        !open.is_empty()
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.open().len();
        f.debug_struct("Sessions").field("open", &open).finish()
    }
}

fn find<'a>(
    open: &'a mut HashMap<String, Session>,
    repository: &Repository,
    id: &str,
) -> Result<&'a mut Session, RegistryError> {
    let session = open.get_mut(id);
    let session = session.filter(|session| session.repository == *repository);
    session.ok_or_else(|| RegistryError::NoUpload(id.chars().take(2 * ID_BYTES).collect()))
}

/// Runs while uploads are open, so that nothing of an abandoned one stays on the disk.
async fn keep_sweeping(sessions: Weak<Sessions>) {
    loop {
        sleep(SWEEP).await;
        let Some(sessions) = sessions.upgrade() else {
            return;
        };
        if !sessions.sweep() {
            sessions.sweeping.store(false, Ordering::Release);
            // One may have begun in between, which saw that somebody sweeps.
            if sessions.open().is_empty() || sessions.sweeping.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

// === impl Taken ===

impl Taken {
    /// Bytes that are here.
    pub(super) fn length(&self) -> u64 {
        self.blob.as_ref().map_or(0, BlobWriter::length)
    }

    /// Ends the upload.
    pub(super) fn finish(mut self) -> Option<BlobWriter> {
        self.blob.take()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut open = self.sessions.open();
        match (self.blob.take(), open.get_mut(&self.id)) {
            (Some(blob), Some(session)) => {
                session.length = blob.length();
                session.touched = Instant::now();
                session.blob = Some(blob);
            }
            _ => {
                open.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use hob_image::ImageStore;

    use super::*;

    #[tokio::test]
    async fn uploads_are_bounded_and_idle_ones_leave_nothing() {
        let data = tempfile::tempdir().unwrap();
        let store = ImageStore::open(data.path()).unwrap();
        let files = || data.path().join("images/tmp").read_dir().unwrap().count();
        let sessions = Arc::new(Sessions::default());
        let repository: Repository = "a".parse().unwrap();
        let begin = || sessions.begin(repository.clone(), store.new_blob().unwrap());
        let first = begin().unwrap();
        for _ in 1..OPEN_MAX {
            begin().unwrap();
        }
        assert!(matches!(begin(), Err(RegistryError::Crowded(_))));
        assert_eq!(files(), OPEN_MAX);
        for (id, session) in sessions.open().iter_mut() {
            if *id != first {
                session.touched = Instant::now().checked_sub(IDLE).unwrap();
            }
        }
        let taken = sessions.take(&repository, &first).unwrap();
        assert!(sessions.take(&repository, &first).is_err());
        assert!(sessions.cancel(&repository, &first).is_err());
        drop(taken);
        assert!(sessions.length(&"b".parse().unwrap(), &first).is_err());
        begin().unwrap();
        assert_eq!(files(), 2);
        sessions.cancel(&repository, &first).unwrap();
        assert_eq!(files(), 1);
    }
}
