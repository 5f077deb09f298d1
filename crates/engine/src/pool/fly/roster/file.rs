//! The roster's file: written beside itself, synced and renamed, so that after a crash or a power
//! cut there is the old one or the new one.

use std::{
    fs::{self, File as DiskFile},
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tokio::{sync::Mutex, task::spawn_blocking};

use super::Entry;

/// The form of the file.
const VERSION: u32 = 1;

/// Where the roster is kept. One writes at a time, and what is written is the newest.
pub(super) struct File {
    path: PathBuf,
    writing: Mutex<()>,
}

#[derive(Serialize)]
struct Written<'a> {
    version: u32,
    machines: &'a [Entry],
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Deserialize)]
struct Read {
    machines: Vec<Entry>,
}

// === impl File ===

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        let writing = Mutex::new(());
        Self { path, writing }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes what `snapshot` returns once it is this writer's turn.
    pub(super) async fn write(&self, snapshot: impl FnOnce() -> Vec<Entry>) -> io::Result<()> {
        let _turn = self.writing.lock().await;
        let (path, entries) = (self.path.clone(), snapshot());
        let written = spawn_blocking(move || write(&path, &entries)).await;
        written.map_err(io::Error::other)?
    }
}

/// Whoever can read a nonce can have the machine: only the owner may.
pub(super) fn write(path: &Path, entries: &[Entry]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let written = Written {
        version: VERSION,
        machines: entries,
    };
    // A file of its own mode, 0600.
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(&written)?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    DiskFile::open(folder)?.sync_all()
}

/// None if there is no file, or one that makes no sense, which is put aside.
pub(super) fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    if let Ok(Version { version }) = serde_json::from_slice(&text)
        && version != VERSION
    {
        let problem = format!("it is of version {version}, made by another hob: use that one");
        return Err(io::Error::other(problem));
    }
    match serde_json::from_slice::<Read>(&text) {
        Ok(read) => Ok(read.machines),
        Err(error) => {
            let mut aside = path.as_os_str().to_owned();
            aside.push(".damaged");
            fs::rename(path, &aside)?;
            tracing::error!(
                "{} makes no sense ({error}) and is now {}: its machines are found by their names once their leases are over",
                path.display(),
                Path::new(&aside).display()
            );
            Ok(Vec::new())
        }
    }
}
