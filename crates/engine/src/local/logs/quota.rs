//! How much the logs of one function may take.

use std::{collections::BTreeSet, io, path::Path};

use super::{super::places::remove_file, KINDS, Part, entries, list};

/// Usual quota of a function, in bytes.
const QUOTA: u64 = 256 << 20;
/// The longest part of a log, with whatever quota, in bytes.
pub(super) const PART_MAX: u64 = 16 << 20;
/// The shortest that a log is put aside at, however many share the quota, in bytes.
const PART_MIN: u64 = 64 << 10;
/// A log, and what was put aside of it, may both grow to two parts before they are cut.
const PARTS: u64 = 4;

/// How many bytes the logs of one function may take. Half is for what its replicas are writing to,
/// half for what they have put aside and for the logs of replicas that are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::local) struct Quota(pub(in crate::local) u64);

impl Default for Quota {
    fn default() -> Self {
        Self(QUOTA)
    }
}

impl Quota {
    /// The length over which a log is put aside when so many are being written.
    pub(super) fn part(self, writers: usize) -> u64 {
        let share = self.0 / PARTS / writers.max(1) as u64;
        share.clamp(PART_MIN, PART_MAX)
    }

    /// Removes the oldest logs of replicas that are gone, all but so many, what belongs to no log,
    /// and what is over the quota.
    pub(in crate::local) fn prune(
        self,
        folder: &Path,
        living: &BTreeSet<String>,
        kept: usize,
    ) -> io::Result<()> {
        let mut ended = list(folder)?;
        ended.retain(|file| file.part == Part::Current && !living.contains(&file.replica));
        ended.sort_by_key(|file| std::cmp::Reverse(file.written));
        let kept: BTreeSet<_> = ended.iter().take(kept).map(|f| &*f.replica).collect();
        for entry in entries(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|name| name.split_once('.'));
            if let Some((replica, kind)) = name
                && KINDS.contains(&kind)
                && !living.contains(replica)
                && !kept.contains(replica)
            {
                remove_file(&entry.path())?;
            }
        }
        self.trim(folder, living)
    }

    /// Removes the oldest of what nobody writes to any more, until the rest fits its half.
    pub(super) fn trim(self, folder: &Path, living: &BTreeSet<String>) -> io::Result<()> {
        let mut over = list(folder)?;
        over.retain(|file| file.part == Part::Former || !living.contains(&file.replica));
        over.sort_by_key(|file| file.written);
        let mut bytes: u64 = over.iter().map(|file| file.bytes).sum();
        for file in over {
            if bytes <= self.0 / 2 {
                break;
            }
            remove_file(&file.path)?;
            remove_file(&file.times)?;
            bytes -= file.bytes;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::{
        super::{ENDED_KEPT, create},
        *,
    };

    #[test]
    fn only_a_few_logs_of_ended_replicas_stay() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9 {
            create(folder.path(), &format!("f-{number}")).unwrap();
            fs::write(folder.path().join(format!("f-{number}.times")), "").unwrap();
        }
        fs::write(folder.path().join("f-9.times.1"), "").unwrap();
        let living = BTreeSet::from(["f-0".to_owned()]);
        let quota = Quota::default();
        quota.prune(folder.path(), &living, ENDED_KEPT).unwrap();
        let left = list(folder.path()).unwrap();
        assert_eq!(left.len(), 1 + ENDED_KEPT);
        assert!(left.iter().any(|file| file.replica == "f-0"));
        assert!(left.iter().all(|file| file.times.exists()));
        let all = entries(folder.path()).unwrap().count();
        assert_eq!(all, 2 * left.len());
    }

    #[test]
    fn the_oldest_goes_first_and_what_is_written_to_never() {
        let folder = tempfile::tempdir().unwrap();
        let start = std::time::SystemTime::UNIX_EPOCH;
        let files = ["f-1.log.1", "f-1.log", "f-2.log", "f-3.log.1", "f-3.log"];
        for (age, name) in files.iter().enumerate() {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_len(10).unwrap();
            let written = start + std::time::Duration::from_secs(age as u64);
            file.set_modified(written).unwrap();
        }
        let living = BTreeSet::from(["f-1".to_owned(), "f-3".to_owned()]);
        for (quota, left) in [
            (60, &files[..]),
            (40, &["f-1.log", "f-2.log", "f-3.log.1", "f-3.log"]),
            (39, &["f-1.log", "f-3.log.1", "f-3.log"]),
            (0, &["f-1.log", "f-3.log"]),
        ] {
            let quota = Quota(quota);
            quota.prune(folder.path(), &living, ENDED_KEPT).unwrap();
            let there = |name: &&&str| folder.path().join(name).exists();
            let now: Vec<_> = files.iter().filter(there).copied().collect();
            assert_eq!(now, left, "{quota:?}");
        }
    }

    #[test]
    fn replicas_share_what_they_may_write() {
        let quota = Quota::default();
        assert_eq!((quota.part(0), quota.part(4)), (PART_MAX, PART_MAX));
        assert_eq!(quota.part(8), PART_MAX / 2);
        assert_eq!(Quota(1 << 20).part(100), PART_MIN);
    }
}
