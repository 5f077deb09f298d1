//! The log files of one function: one a replica, written by the replica itself, never by hob, who
//! only notes beside it when it grew.

mod follow;
mod keeper;
mod place;
mod quota;
mod reader;
mod seek;
mod times;
mod written;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hob_model::is_disk_full;
use rustix::fs::{FallocateFlags, fallocate};

use super::places::remove_file;

pub(super) use follow::{Source, stream};
pub(super) use keeper::{LogKeeper, OpenLog};
pub(super) use quota::Quota;

/// How many logs of replicas that are gone stay, per function.
pub(super) const ENDED_KEPT: usize = 5;
/// The same where each call has a replica to itself, of those that wrote something.
pub(super) const CALLS_KEPT: usize = 100;
/// How many of a program's last lines explain why it did not start.
const REASON_LINES: usize = 20;
/// How many bytes these lines have at most.
const REASON_BYTES: u64 = 16 << 10;

const FILE_MODE: u32 = 0o640;
const FOLDER_MODE: u32 = 0o750;
const CURRENT: &str = ".log";
const FORMER: &str = ".log.1";
/// What hob makes for a replica, and takes away with its log.
const KINDS: [&str; 7] = [
    "log",
    "log.1",
    "log.draft",
    "times",
    "times.1",
    "times.draft",
    "times.1.draft",
];

/// A file of the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogFile {
    replica: String,
    path: PathBuf,
    /// When its lines were written.
    times: PathBuf,
    /// When its replica was started.
    since: SystemTime,
    /// When its replica last wrote.
    written: SystemTime,
    bytes: u64,
    part: Part,
}

/// Which half of a replica's lines. The order is that of the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Former,
    Current,
}

/// What became of the bytes of a log that was put aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Those before this one were given up.
    start: u64,
    /// Those from this one on are the log's first now; all others are in its former part.
    end: u64,
}

/// Makes the log file of a new replica. Fails if there is one of that name.
pub(super) fn create(folder: &Path, replica: &str) -> io::Result<File> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(FOLDER_MODE).create(folder)?;
    let mut options = OpenOptions::new();
    // Appending, so that cutting the file lets the writer go on at its new end.
    let options = options.append(true).create_new(true).mode(FILE_MODE);
    options.open(path_of(folder, replica))
}

pub(super) fn path_of(folder: &Path, replica: &str) -> PathBuf {
    folder.join(format!("{replica}{CURRENT}"))
}

/// Removes the log of a replica that was never started.
pub(super) fn discard(folder: &Path, replica: &str) -> io::Result<()> {
    let log = path_of(folder, replica);
    remove_file(&Part::Current.times(&log))?;
    remove_file(&log)
}

/// Removes the log of a replica that is gone, if it never wrote anything; tells whether it did not.
pub(super) fn discard_empty(folder: &Path, replica: &str) -> io::Result<bool> {
    let log = path_of(folder, replica);
    let is_empty = fs::metadata(&log)?.len() == 0 && !Part::Former.log(&log).exists();
    if is_empty {
        discard(folder, replica)?;
    }
    Ok(is_empty)
}

/// `None` if it was removed meanwhile, or was never there.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// The last words of a program: a few lines, bounded in bytes.
pub(super) fn last_words(path: &Path) -> Vec<String> {
    read_end(path).unwrap_or_default()
}

fn read_end(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let end = file.metadata()?.len();
    let start = end.saturating_sub(REASON_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(REASON_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let surplus = lines.len().saturating_sub(REASON_LINES);
    Ok(lines[surplus..].iter().map(ToString::to_string).collect())
}

/// Puts a log of this length aside: all of it where that is less than two parts, else its last
/// part. Within the kernel, whatever its length.
///
/// Where the beginning of the log cannot be cut off, or the copy does not keep up with its writer,
/// the log is emptied, and lines written between the end of the copy and that are lost; a rename
/// cannot do, since the writer holds the file open.
fn rotate(path: &Path, length: u64, part: u64) -> io::Result<Cut> {
    let start = if length < 2 * part { 0 } else { length - part };
    let draft = path.with_extension("log.draft");
    let most = 2 * part;
    let copied = match copy_end(path, &draft, start, most) {
        Ok(copied) => copied,
        Err(problem) => {
            remove_file(&draft)?;
            if !is_disk_full(&problem) {
                return Err(problem);
            }
            // On a full disk, the room is worth more than the lines.
            remove_file(&Part::Former.log(path))?;
            0
        }
    };
    let log = OpenOptions::new().write(true).open(path)?;
    // The kernel writes to the disk what is to stay, so that must be little.
    let is_little = copied > 0 && copied < most;
    if is_little && let Some(end) = cut_off(&log, start + copied) {
        let former = OpenOptions::new()
            .write(true)
            .open(Part::Former.log(path))?;
        former.set_len(end.saturating_sub(start))?;
        return Ok(Cut { start, end });
    }
    log.set_len(0)?;
    Ok(Cut {
        start,
        end: u64::MAX,
    })
}

/// Takes as much as can be taken of the first `copied` bytes out of the file, whose writer goes
/// on behind the rest without noticing; returns how much that was. Not every filesystem can:
/// ext4 and XFS do, by whole blocks, of which one has to stay.
fn cut_off(log: &File, copied: u64) -> Option<u64> {
    let block = log.metadata().ok()?.blksize().max(1);
    let end = copied.checked_sub(1)? / block * block;
    fallocate(log, FallocateFlags::COLLAPSE_RANGE, 0, end).ok()?;
    Some(end)
}

/// Copies at most so many bytes, and tells how many: a writer who is faster than the copy must
/// not keep it going.
fn copy_end(path: &Path, draft: &Path, start: u64, most: u64) -> io::Result<u64> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(start))?;
    let mut log = log.take(most);
    let mut options = OpenOptions::new();
    let options = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE);
    let mut former = options.open(draft)?;
    let copied = io::copy(&mut log, &mut former)?;
    fs::rename(draft, Part::Former.log(path))?;
    // What was written while it got its name, which can take milliseconds.
    Ok(copied + io::copy(&mut log, &mut former)?)
}

/// What is in the folder; nothing if there is none.
fn entries(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        entries => entries.map(Some),
    }
    .map(|entries| entries.into_iter().flatten())
}

/// The files of the folder in the order of their lines: by start of the replica.
fn list(folder: &Path) -> io::Result<Vec<LogFile>> {
    let entries = entries(folder)?;
    let mut files: Vec<LogFile> = entries.filter_map(|entry| describe(&entry.ok()?)).collect();
    // A former part is younger than the file that it was cut from, so it takes over its age.
    let ages: Vec<_> = files
        .iter()
        .filter(|file| file.part == Part::Current)
        .map(|file| (file.replica.clone(), file.since))
        .collect();
    for file in &mut files {
        let age = ages.iter().find(|(replica, _)| *replica == file.replica);
        file.since = age.map_or(file.since, |(_, since)| *since);
    }
    files.sort_by(|a, b| (a.since, &a.replica, a.part).cmp(&(b.since, &b.replica, b.part)));
    Ok(files)
}

/// The files of one replica, whose log is at `path`, in the order of their lines.
fn parts_of(path: &Path) -> io::Result<Vec<LogFile>> {
    let name = path.file_stem().unwrap_or_default();
    let replica = name.to_string_lossy();
    let mut files = Vec::new();
    for part in [Part::Former, Part::Current] {
        match fs::metadata(part.log(path)) {
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            about => files.push(LogFile::new(&replica, path, part, &about?)?),
        }
    }
    Ok(files)
}

/// `None` for what is no log, and for what is gone by now.
fn describe(entry: &fs::DirEntry) -> Option<LogFile> {
    let name = entry.file_name().into_string().ok()?;
    let (replica, part) = match name.strip_suffix(FORMER) {
        Some(replica) => (replica, Part::Former),
        None => (name.strip_suffix(CURRENT)?, Part::Current),
    };
    let path = entry.path().with_file_name(format!("{replica}{CURRENT}"));
    LogFile::new(replica, &path, part, &entry.metadata().ok()?).ok()
}

// === impl LogFile ===

impl LogFile {
    fn new(replica: &str, path: &Path, part: Part, about: &fs::Metadata) -> io::Result<Self> {
        let written = about.modified()?;
        Ok(Self {
            replica: replica.to_owned(),
            path: part.log(path),
            times: part.times(path),
            // Not every filesystem knows when a file was made.
            since: about.created().unwrap_or(written),
            written,
            bytes: about.len(),
            part,
        })
    }
}

// === impl Part ===

impl Part {
    /// Where it is of the log at `path`.
    fn log(self, path: &Path) -> PathBuf {
        path.with_extension(match self {
            Self::Former => "log.1",
            Self::Current => "log",
        })
    }

    /// Where its times are.
    fn times(self, path: &Path) -> PathBuf {
        path.with_extension(match self {
            Self::Former => "times.1",
            Self::Current => "times",
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::{quota::PART_MAX, *};

    /// Whether the temporary folder is of a kind that can cut the beginning off a file.
    fn can_cut(folder: &Path) -> bool {
        let log = File::create(folder.join("can-cut")).unwrap();
        log.set_len(1 << 20).unwrap();
        let can = cut_off(&log, 1 << 20).is_some();
        if !can {
            eprintln!(
                "NOT TESTED: the filesystem of {} cannot cut",
                folder.display()
            );
        }
        can
    }

    #[test]
    fn a_long_log_is_put_aside_and_its_writer_goes_on_at_the_new_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        writer.set_len(PART_MAX).unwrap();
        writer.write_all(b"full\n").unwrap();
        let cut = rotate(&path, PART_MAX + 5, PART_MAX).unwrap();
        assert_eq!(cut.start, 0);
        writer.write_all(b"anew\n").unwrap();
        let rest = fs::read(&path).unwrap();
        assert!(rest.ends_with(b"anew\n") && rest.len() < 70_000);
        let parts: Vec<_> = list(folder.path()).unwrap();
        assert_eq!(
            parts.iter().map(|f| f.part).collect::<Vec<_>>(),
            [Part::Former, Part::Current]
        );
        assert_eq!(parts[0].bytes, cut.end.min(PART_MAX + 5));
    }

    #[test]
    fn a_writer_that_never_rests_loses_no_line() {
        const PART: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        if !can_cut(folder.path()) {
            return;
        }
        let mut log = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let writer = std::thread::spawn(move || {
            let mut number = 0;
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                writeln!(log, "{number:09}").unwrap();
                number += 1;
            }
            number
        });
        let mut lines = String::new();
        for _ in 0..5 {
            let length = loop {
                let length = fs::metadata(&path).unwrap().len();
                if length > PART {
                    break length;
                }
            };
            // However long it is, this is no flood.
            let cut = rotate(&path, length, 4 * length).unwrap();
            assert!(cut.end < u64::MAX);
            lines += &fs::read_to_string(Part::Former.log(&path)).unwrap();
        }
        drop(stop);
        let written = writer.join().unwrap();
        lines += &fs::read_to_string(&path).unwrap();
        let read: Vec<u32> = lines.lines().map(|line| line.parse().unwrap()).collect();
        assert!(read.into_iter().eq(0..written));
    }

    #[test]
    fn of_a_flood_only_the_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        writer.set_len(4 * PART_MAX).unwrap();
        writer.write_all(b"the end\n").unwrap();
        let cut = rotate(&path, 4 * PART_MAX + 8, PART_MAX).unwrap();
        assert_eq!(cut.start, 3 * PART_MAX + 8);
        let kept = [Part::Former, Part::Current].map(|part| fs::read(part.log(&path)).unwrap());
        let kept = kept.concat();
        assert_eq!(kept.len() as u64, PART_MAX);
        assert!(kept.ends_with(b"\0the end\n"));
    }

    #[test]
    fn last_words_are_few_and_short() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), "f-1").unwrap();
        for number in 0..100 {
            writeln!(writer, "line {number}").unwrap();
        }
        let words = last_words(&path_of(folder.path(), "f-1"));
        assert_eq!(words.len(), REASON_LINES);
        assert_eq!(words.last().unwrap(), "line 99");
        writer.write_all(&vec![b'x'; 1 << 20]).unwrap();
        let words = last_words(&path_of(folder.path(), "f-1"));
        assert!(words.iter().map(String::len).sum::<usize>() as u64 <= REASON_BYTES);
    }
}
