//! The log files of one function: one a replica, written by the replica itself, never by hob, who
//! only notes beside it when it grew.

mod follow;
mod keeper;
mod place;
mod reader;
mod seek;
mod times;

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use hob_model::is_disk_full;

use super::places::remove_file;

pub(super) use follow::{Source, stream};
pub(super) use keeper::{LogKeeper, OpenLog};

/// How many logs of replicas that are gone stay, per function.
const ENDED_KEPT: usize = 5;
/// A log that has grown beyond this is put aside, and begins anew; one former part is kept.
const LOG_MAX: u64 = 16 << 20;
/// A log that outgrew its limit by less than this between two looks is put aside whole; of a
/// longer one, only the end.
const LOG_SLACK: u64 = 48 << 20;
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

/// Puts the end of a log of this length aside, and empties it. Within the kernel, whatever its
/// length; returns how many bytes at its beginning were given up.
///
/// Lines written in the instant between the end of the copy and the cut are lost; a rename
/// cannot do, since the writer holds the file open.
fn rotate(path: &Path, length: u64) -> io::Result<u64> {
    let start = length.saturating_sub(LOG_MAX + LOG_SLACK);
    let draft = path.with_extension("log.draft");
    if let Err(problem) = copy_end(path, &draft, start) {
        remove_file(&draft)?;
        if !is_disk_full(&problem) {
            return Err(problem);
        }
        // On a full disk, the room is worth more than the lines.
        remove_file(&Part::Former.log(path))?;
    }
    OpenOptions::new().write(true).open(path)?.set_len(0)?;
    Ok(start)
}

/// Bounded, so that a writer who is faster than the copy does not keep it going for ever.
fn copy_end(path: &Path, draft: &Path, start: u64) -> io::Result<()> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(start))?;
    let mut log = log.take(2 * (LOG_MAX + LOG_SLACK));
    let mut options = OpenOptions::new();
    let options = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE);
    let mut former = options.open(draft)?;
    io::copy(&mut log, &mut former)?;
    fs::rename(draft, Part::Former.log(path))?;
    // What was written while it got its name, which can take milliseconds.
    io::copy(&mut log, &mut former).map(drop)
}

/// Removes the oldest logs of replicas that are gone, all but a few, and what belongs to no log.
pub(super) fn prune(folder: &Path, living: &BTreeSet<String>) -> io::Result<()> {
    let mut ended = list(folder)?;
    ended.retain(|file| file.part == Part::Current && !living.contains(&file.replica));
    ended.sort_by_key(|file| std::cmp::Reverse(file.written));
    let kept: BTreeSet<_> = ended.iter().take(ENDED_KEPT).map(|f| &*f.replica).collect();
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
    Ok(())
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

    use super::*;

    #[test]
    fn only_a_few_logs_of_ended_replicas_stay() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..9 {
            create(folder.path(), &format!("f-{number}")).unwrap();
            fs::write(folder.path().join(format!("f-{number}.times")), "").unwrap();
        }
        fs::write(folder.path().join("f-9.times.1"), "").unwrap();
        let living = BTreeSet::from(["f-0".to_owned()]);
        prune(folder.path(), &living).unwrap();
        let left = list(folder.path()).unwrap();
        assert_eq!(left.len(), 1 + ENDED_KEPT);
        assert!(left.iter().any(|file| file.replica == "f-0"));
        assert!(left.iter().all(|file| file.times.exists()));
        let all = entries(folder.path()).unwrap().count();
        assert_eq!(all, 2 * left.len());
    }

    #[test]
    fn a_long_log_is_put_aside_and_its_writer_goes_on_at_the_new_start() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        writer.set_len(LOG_MAX).unwrap();
        writer.write_all(b"full\n").unwrap();
        assert_eq!(rotate(&path, LOG_MAX + 5).unwrap(), 0);
        writer.write_all(b"anew\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"anew\n");
        let parts: Vec<_> = list(folder.path()).unwrap();
        assert_eq!(
            parts.iter().map(|f| f.part).collect::<Vec<_>>(),
            [Part::Former, Part::Current]
        );
        assert_eq!(parts[0].bytes, LOG_MAX + 5);
    }

    #[test]
    fn of_a_flood_only_the_end_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        writer.set_len(4 * (LOG_MAX + LOG_SLACK)).unwrap();
        writer.write_all(b"the end\n").unwrap();
        let start = rotate(&path, 4 * (LOG_MAX + LOG_SLACK) + 8).unwrap();
        assert_eq!(start, 3 * (LOG_MAX + LOG_SLACK) + 8);
        let former = path.with_extension("log.1");
        assert_eq!(fs::metadata(&former).unwrap().len(), LOG_MAX + LOG_SLACK);
        assert_eq!(
            last_words(&former).last().unwrap().trim_matches('\0'),
            "the end"
        );
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
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
