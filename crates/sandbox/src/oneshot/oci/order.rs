//! What the daemon and the first process of a cage with a kernel of its own say to each other.
//!
//! The order is its length, its head as JSON, and then the contents of the files and of stdin, one
//! after the other. The answers are [`Word`]s, a line each.

use std::{
    io::{self, Read, Write},
    os::fd::BorrowedFd,
    path::PathBuf,
    time::Instant,
};

use serde::{Deserialize, Serialize};

use super::super::native::Ended;
use crate::{
    Program,
    native::{launch::readable, plan::Failure},
};

/// Longest head, in bytes: arguments, environment and names of files.
const MAX_HEAD: u32 = 16 << 20;

/// Longest line of the first process, in bytes.
const MAX_LINE: usize = 4096;

/// All but the contents.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// `NAME=value` each.
    pub(super) env: Vec<String>,
    /// Paths below the box, with their lengths in bytes.
    pub(super) files: Vec<(PathBuf, u64)>,
    /// Length of stdin, in bytes.
    pub(super) stdin: u64,
    /// Open files of each process.
    pub(super) open_files: u64,
    /// Longest file that it may write, in bytes, where that is less than there is room.
    pub(super) file_size: Option<u64>,
    /// Processes of the user, where the cage's kernel counts them.
    pub(super) processes: u64,
}

/// What the first process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Word {
    /// It waits for its order, under this kernel.
    Ready(Kernel),
    /// The program runs.
    Started,
    /// The program does not run, and will not.
    Failed(Failure),
    /// The program has ended, and all that it started is dead.
    Ended(Ended),
}

/// Which kernel a process is under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kernel {
    /// Empty where it is not told.
    boot: String,
    /// Release and version.
    name: String,
}

// === impl Head ===

impl Head {
    /// `room` is what there is for files.
    pub(super) fn of(program: &Program, room: u64) -> Self {
        let env = program.env.iter();
        let files = program.files.iter();
        Self {
            argv: program.argv.clone(),
            env: env.map(|(name, value)| format!("{name}={value}")).collect(),
            files: files
                .map(|(path, text)| (path.clone(), text.len() as u64))
                .collect(),
            stdin: program.stdin.len() as u64,
            open_files: program.limits.files.into(),
            file_size: Some(program.limits.tmp).filter(|size| *size < room),
            processes: program.limits.pids.into(),
        }
    }

    /// Sends it, with the contents.
    pub(super) fn send(&self, program: &Program, mut to: impl Write) -> io::Result<()> {
        let head = serde_json::to_vec(self)?;
        let length = u32::try_from(head.len()).ok();
        let length = length.filter(|length| *length <= MAX_HEAD).ok_or_else(|| {
            io::Error::other("arguments, environment and names of files are too long")
        })?;
        to.write_all(&length.to_le_bytes())?;
        to.write_all(&head)?;
        program
            .files
            .iter()
            .try_for_each(|(_, text)| to.write_all(text))?;
        to.write_all(&program.stdin)
    }

    /// `None` when there is to be no program.
    pub(super) fn receive(mut from: impl Read) -> io::Result<Option<Self>> {
        let mut length = [0; 4];
        match from.read_exact(&mut length) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u32::from_le_bytes(length);
        if length > MAX_HEAD {
            return Err(io::Error::other("the order is too long"));
        }
        let mut head = vec![0; length as usize];
        from.read_exact(&mut head)?;
        Ok(Some(serde_json::from_slice(&head)?))
    }
}

// === impl Word ===

impl Word {
    pub(super) fn send(&self, mut to: impl Write) -> io::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        to.write_all(&line)
    }

    /// The next word, or `None` when there is to be none.
    pub(super) fn hear(from: BorrowedFd<'_>, deadline: Instant) -> io::Result<Option<Self>> {
        Ok(line(from, deadline)?.and_then(|line| Self::parse(&line)))
    }

    /// `None` for what is no word.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }
}

/// The next line, cut at [`MAX_LINE`]; `None` when none comes in time, or any more.
pub(super) fn line(from: BorrowedFd<'_>, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    while line.len() < MAX_LINE {
        let mut byte = [0];
        let left = deadline.saturating_duration_since(Instant::now());
        if !readable(from, left)? || rustix::io::read(from, &mut byte)? == 0 {
            return Ok(None);
        }
        if byte == *b"\n" {
            break;
        }
        line.extend(byte);
    }
    Ok(Some(line))
}

// === impl Kernel ===

impl Kernel {
    /// The one that this process is under.
    pub(super) fn own() -> Self {
        let name = rustix::system::uname();
        let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
        Self {
            boot: crate::birth::boot_id(),
            name: format!("{} {}", text(name.release()), text(name.version())),
        }
    }

    /// Whether it is the same kernel, or cannot be told from it.
    pub(super) fn is(&self, other: &Self) -> bool {
        match self.boot.is_empty() || other.boot.is_empty() {
            true => self.name == other.name,
            false => self.boot == other.boot,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::CageLimits;

    fn program() -> Program {
        Program {
            argv: vec!["cat".into(), "a b".into()],
            env: vec![("A".into(), "1".into())],
            files: vec![("x/y".into(), b"one".to_vec()), ("z".into(), Vec::new())],
            stdin: b"two".to_vec(),
            limits: CageLimits {
                memory: 1,
                cpu_millis: 2,
                pids: 3,
                tmp: 4,
                files: 5,
            },
        }
    }

    #[test]
    fn an_order_arrives_as_it_was_sent() {
        let mut bytes = Vec::new();
        Head::of(&program(), 9)
            .send(&program(), &mut bytes)
            .unwrap();
        let mut rest = bytes.as_slice();
        let head = Head::receive(&mut rest).unwrap().unwrap();
        assert_eq!(head.argv, ["cat", "a b"]);
        assert_eq!(head.env, ["A=1"]);
        assert_eq!(head.files, [("x/y".into(), 3), ("z".into(), 0)]);
        assert_eq!((head.stdin, head.open_files, head.processes), (3, 5, 3));
        assert_eq!(head.file_size, Some(4));
        assert_eq!(Head::of(&program(), 4).file_size, None);
        assert_eq!(rest, b"onetwo");
    }

    #[test]
    fn no_order_and_one_that_is_too_long_are_told_apart() {
        assert!(Head::receive(&[][..]).unwrap().is_none());
        assert!(Head::receive(&u32::MAX.to_le_bytes()[..]).is_err());
    }

    #[test]
    fn a_kernel_is_known_by_its_boot_and_else_by_its_name() {
        let kernel = |boot: &str, name: &str| Kernel {
            boot: boot.into(),
            name: name.into(),
        };
        assert!(kernel("a", "1").is(&kernel("a", "2")));
        assert!(!kernel("a", "1").is(&kernel("b", "1")));
        assert!(kernel("", "1").is(&kernel("b", "1")));
        assert!(!kernel("", "1").is(&kernel("b", "2")));
        assert!(Kernel::own().is(&Kernel::own()));
    }
}
