//! What the daemon tells a one-shot cage, and what it is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::native::plan::{BoxSize, Root, UserNamespace};

/// How a cage is built, before anybody knows what for.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) root: Root,
    /// For want of root's rights: the user namespace that all others belong to.
    pub(super) around: Option<UserNamespace>,
    /// The program's own, in which it has no rights either.
    pub(super) users: UserNamespace,
    /// Folder of the cage's cgroup v2, to be born in. Version 1 was joined by the helper.
    pub(super) cgroup: Option<PathBuf>,
}

/// What runs in it. The contents of the files follow one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// `NAME=value` each.
    pub(super) env: Vec<String>,
    /// Paths below the box, and how many bytes each has.
    pub(super) files: Vec<(PathBuf, usize)>,
    /// Of the box, when it is another than the plan's.
    pub(super) resize: Option<BoxSize>,
    /// Most open files of a process.
    pub(super) open_files: u64,
}

/// What the cage's init tells the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// The program has ended, and what it left behind was sent SIGKILL and is not dead yet: it may
    /// have used up its share of processor time.
    Ending(Ended),
    /// All are dead but the init itself. The last word.
    Dead(Ended),
}

/// How the program ended. Only the cage's init can tell, so no exit status can pass for a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in super::super) enum Ended {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

/// Bytes of the number in front of a task: how long it is.
const LENGTH: usize = size_of::<u64>();

// === impl Task ===

impl Task {
    /// As it travels, with the files' contents.
    pub(super) fn encode<'a>(
        &self,
        contents: impl Iterator<Item = &'a [u8]>,
    ) -> serde_json::Result<Vec<u8>> {
        let task = serde_json::to_vec(self)?;
        let mut bytes = (task.len() as u64).to_ne_bytes().to_vec();
        bytes.extend(task);
        contents.for_each(|contents| bytes.extend_from_slice(contents));
        Ok(bytes)
    }

    /// The inverse; `None` when bytes are missing.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, Vec<&[u8]>)> {
        let (length, rest) = bytes.split_first_chunk::<LENGTH>()?;
        let length = usize::try_from(u64::from_ne_bytes(*length)).ok()?;
        let (task, mut rest) = rest.split_at_checked(length)?;
        let task: Self = serde_json::from_slice(task).ok()?;
        let mut contents = Vec::with_capacity(task.files.len());
        for (_, length) in &task.files {
            let (file, more) = rest.split_at_checked(*length)?;
            contents.push(file);
            rest = more;
        }
        rest.is_empty().then_some((task, contents))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_task_survives_the_way_to_the_cage() {
        let task = Task {
            argv: vec!["sh".into(), "ü\n".into()],
            env: vec!["A=1".into()],
            files: vec![("a".into(), 3), ("b/c".into(), 0), ("d".into(), 2)],
            resize: None,
            open_files: 9,
        };
        let parts: [&[u8]; 3] = [b"\0\xff{", b"", b"ok"];
        let bytes = task.encode(parts.into_iter()).unwrap();
        let (back, contents) = Task::decode(&bytes).unwrap();
        assert_eq!((back.argv, back.files), (task.argv, task.files));
        assert_eq!(contents, parts);
        for cut in [0, 7, 8, bytes.len() - 1] {
            assert!(Task::decode(&bytes[..cut]).is_none(), "{cut}");
        }
    }
}
