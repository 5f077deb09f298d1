//! What is written down of a running replica, so that the next daemon can go on with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use hob_model::{FunctionName, SecretName};
use hob_sandbox::CageRecord;
use serde::{Deserialize, Serialize};

use super::places::{Owner, remove_file};

/// What `run/replicas/<id>.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) replica: String,
    pub(super) function: FunctionName,
    /// The revision's digest.
    pub(super) revision: String,
    pub(super) started_at: SystemTime,
    /// Where it takes calls; nothing before it does, and nothing once it is on its way out.
    pub(super) door: Option<Door>,
    /// Whether it has one call in its life.
    #[serde(default)]
    pub(super) once: bool,
    /// The port that it was told.
    pub(super) port: u16,
    /// Its network, if it has one of its own.
    pub(super) network: Option<NetworkRecord>,
    /// User and group of its files, where those are not the usual ones of cages.
    pub(super) owner: Owner,
    /// What of the function's secrets it reads.
    pub(super) secrets: Vec<SecretName>,
    pub(super) cage: CageRecord,
}

/// Which of the two places a program chose to listen at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Door {
    Socket,
    Port,
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NetworkRecord {
    /// Its file on the host.
    pub(super) path: PathBuf,
    /// Of which its address is one.
    pub(super) subnet: String,
}

// === impl Record ===

impl Record {
    /// By rename: the next daemon finds all of it, or the one before.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("draft");
        let text = serde_json::to_vec_pretty(self)?;
        let written = fs::write(&draft, text).and_then(|()| fs::rename(&draft, path));
        if written.is_err() {
            remove_file(&draft)?;
        }
        written
    }

    /// All that are in a folder. What cannot be read, such as that of another version of hob or a
    /// damaged one, is none: its replica is nobody's.
    pub(super) fn read_all(folder: &Path) -> Vec<Self> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths = entries.map(|entry| entry.path());
        let records = paths.filter(|path| path.extension().is_some_and(|kind| kind == "json"));
        let read = |path: PathBuf| {
            let record = Self::read(&path);
            if record.is_none() {
                let path = path.display();
                tracing::warn!(
                    "{path} cannot be read: the replica that it is of is ended, and started anew when it is called"
                );
            }
            record
        };
        records.filter_map(read).collect()
    }

    fn read(path: &Path) -> Option<Self> {
        let record: Self = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let names = [&record.replica, &record.cage.id];
        // Folders are found by it.
        names
            .iter()
            .all(|name| path.file_stem().is_some_and(|stem| stem == name.as_str()))
            .then_some(record)
    }
}
