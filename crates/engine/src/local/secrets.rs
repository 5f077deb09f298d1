use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use hob_model::{
    EndReason, FunctionName, IoWords, SecretName,
    port::{EngineError, SecretError, Secrets},
};

use super::places::{Owner, give, own_folder, passage, remove_file, remove_tree};

/// Only its owner, the user of the cages, may read a secret.
const FILE_MODE: u32 = 0o400;
/// Where a value is written before it is renamed into place. No secret's name begins with a dot.
const DRAFT: &str = ".draft";

/// The secrets of one function in the clear: there while a replica may read them, and only those
/// that one of the replicas names.
#[derive(Debug)]
pub(super) struct SecretFolder {
    path: PathBuf,
    namespace: String,
    owner: Owner,
    /// What each replica that holds a lease may read.
    readers: Mutex<Vec<Arc<[SecretName]>>>,
}

/// One replica's hold on the folder; what nobody else needs goes when it is dropped.
#[derive(Debug)]
pub(super) struct SecretLease {
    folder: Arc<SecretFolder>,
    names: Arc<[SecretName]>,
}

// === impl SecretFolder ===

impl SecretFolder {
    pub(super) fn new(path: PathBuf, function: &FunctionName, owner: Owner) -> Self {
        Self {
            path,
            namespace: function.namespace().to_owned(),
            owner,
            readers: Mutex::default(),
        }
    }

    /// Writes the named secrets, so that a replica can start. Blocks on files.
    pub(super) fn lease(
        self: &Arc<Self>,
        names: &[SecretName],
        source: &dyn Secrets,
    ) -> Result<SecretLease, EngineError> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        // From here on the drop of the lease undoes what a failure leaves half done.
        let names: Arc<[SecretName]> = names.into();
        readers.push(Arc::clone(&names));
        let written = self.write_all(&names, source);
        drop(readers);
        let lease = SecretLease {
            folder: Arc::clone(self),
            names,
        };
        written.map(|()| lease)
    }

    /// For a replica of an earlier daemon, which has them already.
    pub(super) fn hold(self: &Arc<Self>, names: &[SecretName]) -> SecretLease {
        let names: Arc<[SecretName]> = names.into();
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.push(Arc::clone(&names));
        SecretLease {
            folder: Arc::clone(self),
            names,
        }
    }

    /// Brings the new value of `name` to the replicas that may read it, or takes the file away
    /// where the secret is gone. Blocks on files.
    pub(super) fn refresh(
        &self,
        name: &SecretName,
        source: &dyn Secrets,
    ) -> Result<(), EngineError> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if !readers.iter().any(|names| names.contains(name)) {
            return Ok(());
        }
        match self.write(name, source) {
            Err(Failure::Secret(SecretError::NotFound { .. })) => {
                remove_file(&self.path.join(name.as_str())).map_err(|e| self.broken(&e))
            }
            Err(failure) => Err(self.explain(failure)),
            Ok(()) => Ok(()),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn write_all(&self, names: &[SecretName], source: &dyn Secrets) -> Result<(), EngineError> {
        self.make().map_err(|e| self.broken(&e))?;
        let mut names = names.iter();
        names.try_for_each(|name| self.write(name, source).map_err(|e| self.explain(e)))
    }

    fn make(&self) -> io::Result<()> {
        if self.path.is_dir() {
            return Ok(());
        }
        self.path.parent().map_or(Ok(()), passage)?;
        own_folder(&self.path, self.owner)
    }

    /// By rename: a reader sees the old value or the new one, never half of one.
    fn write(&self, name: &SecretName, source: &dyn Secrets) -> Result<(), Failure> {
        let value = source.reveal(&self.namespace, name)?;
        let draft = self.path.join(DRAFT);
        remove_file(&draft)?;
        let written = self
            .write_draft(&draft, value.expose())
            .and_then(|()| fs::rename(&draft, self.path.join(name.as_str())));
        if written.is_err() {
            remove_file(&draft)?;
        }
        Ok(written?)
    }

    fn write_draft(&self, draft: &Path, value: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(FILE_MODE);
        options.open(draft)?.write_all(value)?;
        give(draft, self.owner)
    }

    fn release(&self, names: &Arc<[SecretName]>) -> io::Result<()> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mine) = readers.iter().position(|held| Arc::ptr_eq(held, names)) {
            readers.swap_remove(mine);
        }
        if readers.is_empty() {
            return remove_tree(&self.path);
        }
        let needed: BTreeSet<&str> = readers
            .iter()
            .flat_map(|names| names.iter().map(SecretName::as_str))
            .collect();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| needed.contains(name)) {
                remove_file(&entry.path())?;
            }
        }
        Ok(())
    }

    fn explain(&self, failure: Failure) -> EngineError {
        match failure {
            Failure::Secret(missing @ SecretError::NotFound { .. }) => EngineError::Start {
                reason: EndReason::Host,
                message: missing.to_string(),
                log_tail: Vec::new(),
            },
            Failure::Secret(unreadable) => EngineError::Host(unreadable.to_string()),
            Failure::Io(problem) => self.broken(&problem),
        }
    }

    fn broken(&self, problem: &io::Error) -> EngineError {
        let path = self.path.display();
        let problem = IoWords(problem);
        EngineError::Host(format!("secrets cannot be written to {path}: {problem}"))
    }
}

// === impl SecretLease ===

impl Drop for SecretLease {
    fn drop(&mut self) {
        if let Err(problem) = self.folder.release(&self.names) {
            let path = self.folder.path.display();
            tracing::warn!(%path, %problem, "secrets could not be cleaned up");
        }
    }
}

/// Why one secret did not get into its file.
enum Failure {
    Secret(SecretError),
    Io(io::Error),
}

impl From<SecretError> for Failure {
    fn from(problem: SecretError) -> Self {
        Self::Secret(problem)
    }
}

impl From<io::Error> for Failure {
    fn from(problem: io::Error) -> Self {
        Self::Io(problem)
    }
}
