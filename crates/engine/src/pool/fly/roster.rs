//! The machines of this pool, in memory and on disk. A machine is ours because it is written here,
//! whatever it says of itself.

mod file;

use std::{
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use super::{FlyError, machine::MachineId};
use file::File;

/// A machine of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Machine {
    pub(super) id: MachineId,
    pub(super) name: String,
    /// Its version, for which states are waited.
    pub(super) instance: String,
    /// What it is made of: [`Recipe::make`](super::machine::Recipe::make).
    pub(super) make: String,
    pub(super) region: String,
    /// Proves its lease; `None` where it is not known.
    pub(super) nonce: Option<String>,
    /// When the lease ends, in seconds since 1970. Past it the machine is not ours to start.
    pub(super) expires: u64,
    /// When it was made, in seconds since 1970, for people.
    pub(super) created: u64,
}

/// What is done with a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// From a hob before this one, and not looked at yet.
    Left,
    /// It has a run, or is on its way to one, or back from one.
    Busy,
    /// Stopped, for the next run.
    Free,
    /// To be destroyed.
    Doomed,
}

/// A machine with what is done with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) machine: Machine,
    pub(super) phase: Phase,
    /// Tells whether anything changed since somebody looked.
    #[serde(skip)]
    pub(super) stamp: u64,
}

/// All of them.
pub(super) struct Roster {
    entries: Mutex<Entries>,
    file: File,
}

#[derive(Debug, Default)]
struct Entries {
    all: Vec<Entry>,
    stamps: u64,
}

// === impl Roster ===

impl Roster {
    /// What an earlier hob wrote into the file, if there is one.
    ///
    /// # Errors
    /// It cannot be read or written. One that makes no sense is put aside instead: its machines
    /// are found by their names.
    pub(super) fn open(path: PathBuf) -> Result<Self, FlyError> {
        let problem = |error: std::io::Error| FlyError::Roster {
            path: path.clone(),
            problem: error.to_string(),
        };
        let mut all = file::read(&path).map_err(problem)?;
        for entry in &mut all {
            if entry.phase != Phase::Doomed {
                entry.phase = Phase::Left;
            }
        }
        file::write(&path, &all).map_err(problem)?;
        let entries = Entries { all, stamps: 0 };
        Ok(Self {
            entries: Mutex::new(entries),
            file: File::new(path),
        })
    }

    /// Adds a machine, and has it on disk.
    pub(super) async fn add(&self, machine: Machine, phase: Phase) {
        self.entries().add(machine, phase);
        self.save().await;
    }

    /// A machine that is free, the one whose lease is the longest. It is busy then.
    pub(super) fn take_free(&self) -> Option<Machine> {
        let mut entries = self.entries();
        let free = entries.all.iter().filter(|e| e.phase == Phase::Free);
        let id = free.max_by_key(|e| e.machine.expires)?.machine.id.clone();
        let entry = entries.set(&id, Phase::Busy)?;
        Some(entry.machine.clone())
    }

    /// Changes what is done with a machine; `false` if it is not in `from` any more.
    pub(super) fn turn(&self, id: &MachineId, from: Phase, to: Phase) -> bool {
        let mut entries = self.entries();
        let is = entries.find(id).is_some_and(|entry| entry.phase == from);
        is && entries.set(id, to).is_some()
    }

    /// Has a machine destroyed, whatever is done with it, from now on. [`Roster::save`] has it on
    /// disk.
    pub(super) fn doom(&self, id: &MachineId) {
        self.entries().set(id, Phase::Doomed);
    }

    /// The same, unless anything was done with it since it had that stamp.
    pub(super) fn doom_unchanged(&self, id: &MachineId, stamp: u64) -> bool {
        let mut entries = self.entries();
        let same = entries.find(id).is_some_and(|entry| entry.stamp == stamp);
        same && entries.set(id, Phase::Doomed).is_some()
    }

    /// Writes down a lease that lasts longer.
    pub(super) async fn renew(&self, machine: &Machine) {
        if let Some(entry) = self.entries().find(&machine.id) {
            entry.machine = machine.clone();
        }
        self.save().await;
    }

    /// Strikes off a machine that is gone.
    pub(super) async fn forget(&self, id: &MachineId) {
        self.entries().all.retain(|entry| entry.machine.id != *id);
        self.save().await;
    }

    /// All in a phase.
    pub(super) fn all(&self, phase: Phase) -> Vec<Machine> {
        let entries = self.entries();
        let all = entries.all.iter().filter(|entry| entry.phase == phase);
        all.map(|entry| entry.machine.clone()).collect()
    }

    /// All of them as they are now.
    pub(super) fn entries_now(&self) -> Vec<Entry> {
        self.entries().all.clone()
    }

    /// How many are in a phase.
    pub(super) fn count(&self, phase: Phase) -> usize {
        let entries = self.entries();
        let all = entries.all.iter();
        all.filter(|entry| entry.phase == phase).count()
    }

    /// Writes the file. One that cannot be written is told of and not fatal: what it lacks is
    /// found by name, and the next change writes all of it.
    pub(super) async fn save(&self) {
        let snapshot = || self.entries_now();
        if let Err(error) = self.file.write(snapshot).await {
            let path = self.file.path().display();
            tracing::error!(
                "{path}, where Fly's machines are written down, cannot be written: {error}"
            );
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Entries ===

impl Entries {
    fn add(&mut self, machine: Machine, phase: Phase) {
        self.all.retain(|entry| entry.machine.id != machine.id);
        self.stamps += 1;
        let stamp = self.stamps;
        self.all.push(Entry {
            machine,
            phase,
            stamp,
        });
    }

    fn find(&mut self, id: &MachineId) -> Option<&mut Entry> {
        self.all.iter_mut().find(|entry| entry.machine.id == *id)
    }

    fn set(&mut self, id: &MachineId, phase: Phase) -> Option<&Entry> {
        self.stamps += 1;
        let stamp = self.stamps;
        let entry = self.find(id)?;
        entry.phase = phase;
        entry.stamp = stamp;
        Some(entry)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    fn machine(id: &str, expires: u64) -> Machine {
        Machine {
            id: id.to_owned().try_into().unwrap(),
            name: format!("worker-p-{expires}"),
            instance: "01".into(),
            make: "image".into(),
            region: "fra".into(),
            nonce: Some("n".into()),
            expires,
            created: 1,
        }
    }

    #[tokio::test]
    async fn what_is_written_down_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fly.json");
        let (a, b) = (machine("a", 10), machine("b", 20));
        {
            let roster = Roster::open(path.clone()).unwrap();
            roster.add(a.clone(), Phase::Free).await;
            roster.add(b.clone(), Phase::Busy).await;
            assert_eq!(roster.take_free(), Some(a.clone()));
            assert_eq!(roster.take_free(), None);
            roster.doom(&b.id);
            roster.save().await;
        }
        let roster = Roster::open(path.clone()).unwrap();
        assert_eq!(roster.all(Phase::Left), std::slice::from_ref(&a));
        assert_eq!(roster.all(Phase::Doomed), std::slice::from_ref(&b));
        roster.forget(&a.id).await;
        roster.forget(&b.id).await;
        assert!(Roster::open(path).unwrap().entries_now().is_empty());
    }

    #[tokio::test]
    async fn what_changed_since_somebody_looked_is_not_destroyed_for_what_was_seen() {
        let folder = tempfile::tempdir().unwrap();
        let roster = Roster::open(folder.path().join("fly.json")).unwrap();
        let a = machine("a", 10);
        roster.add(a.clone(), Phase::Free).await;
        let seen = roster.entries_now()[0].stamp;
        roster.take_free().unwrap();
        assert!(roster.turn(&a.id, Phase::Busy, Phase::Free));
        assert!(!roster.doom_unchanged(&a.id, seen));
        let seen = roster.entries_now()[0].stamp;
        assert!(roster.doom_unchanged(&a.id, seen));
        assert!(!roster.turn(&a.id, Phase::Busy, Phase::Free));
    }

    #[tokio::test]
    async fn a_damaged_file_is_put_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fly.json");
        fs::write(&path, "{\"version\":1,\"machines\":[{]}").unwrap();
        let roster = Roster::open(path.clone()).unwrap();
        assert!(roster.entries_now().is_empty());
        assert!(folder.path().join("fly.json.damaged").exists());
        let later = "{\"version\":2,\"machines\":[]}";
        fs::write(&path, later).unwrap();
        let error = Roster::open(path).err().unwrap().to_string();
        assert!(error.contains("version 2"), "{error}");
    }
}
