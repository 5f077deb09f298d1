//! When the lines of a log were written: beside it lies a small file of marks, each saying how
//! long the log was at some time. Plain text, of lines of one length, so that a place in it is
//! found without reading it all.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{super::places::remove_file, Cut, FILE_MODE, open};

/// Longest file of marks, in bytes: some 38,000 marks. At this length every second mark goes, so
/// that the oldest lines are timed the most coarsely.
pub(super) const TIMES_MAX: u64 = 1 << 20;
/// `1764401590123 000000001234` and a newline.
const MARK_BYTES: usize = 27;
/// Digits of the time, in milliseconds since 1970.
const TIME_DIGITS: usize = 13;
/// In the year 2286; later times are written as this one.
const MILLIS_MAX: u64 = 9_999_999_999_999;
/// Digits of the length, in bytes.
const LENGTH_DIGITS: usize = 12;
/// A terabyte; a log is put aside long before.
const LENGTH_MAX: u64 = 999_999_999_999;
/// A clock that goes back by more than this was ahead, and was set right.
const SET_BACK: Duration = Duration::from_secs(1);
/// Marks that a reader takes from the file at once.
const MARKS_AHEAD: u64 = 128;

/// At `millis` since 1970, the log had `length` bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Mark {
    millis: u64,
    length: u64,
}

/// The marks of a log that is being written. Neither value of a mark is below that of the one
/// before it, but for the time where a clock that was ahead was set right: a reader who looks for
/// a time there begins too early, never too late.
#[derive(Debug)]
pub(super) struct Times {
    path: PathBuf,
    /// Where those of the former part go.
    former: PathBuf,
    last: Mark,
    bytes: u64,
}

/// Tells when lines were written, one after the other.
#[derive(Debug)]
pub(super) struct TimesReader {
    path: PathBuf,
    /// The marks around the last line asked for, from `at` on not passed yet.
    ahead: Vec<Mark>,
    at: usize,
    /// Beyond this length there was no mark.
    end: Option<u64>,
}

// === impl Times ===

impl Times {
    /// Goes on with the marks that an earlier daemon made, if there are any. Blocks on a file then.
    pub(super) fn new(path: PathBuf, former: PathBuf) -> Self {
        let mut times = Self {
            path,
            former,
            last: Mark::default(),
            bytes: 0,
        };
        // Without them it begins anew, over what is there.
        let _ = times.resume();
        times
    }

    fn resume(&mut self) -> io::Result<()> {
        let Some(file) = open(&self.path)? else {
            return Ok(());
        };
        // Half a mark at the end is written over.
        let count = file.metadata()?.len() / MARK_BYTES as u64;
        if let Some(last) = count.checked_sub(1) {
            let marks = read_marks(&file, last, 1)?;
            self.last = marks.first().copied().unwrap_or_default();
            self.bytes = count * MARK_BYTES as u64;
        }
        Ok(())
    }

    /// How long the log was at the last mark, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.last.length
    }

    /// The log has grown to `length`, lastly at `written`.
    pub(super) fn mark(&mut self, written: SystemTime, length: u64) -> io::Result<()> {
        let now = SystemTime::now();
        // A program may set the times of its own log.
        let mut time = written.min(now);
        if !was_ahead(self.last.time(), now) {
            time = time.max(self.last.time());
        }
        let mark = Mark {
            millis: millis(time),
            length,
        };
        self.last = mark;
        if self.bytes >= TIMES_MAX {
            self.thin_out()?;
        }
        let file = options().truncate(false).open(&self.path)?;
        // Not appended: what a full disk cut short is written over.
        file.write_all_at(mark.to_line().as_bytes(), self.bytes)?;
        self.bytes += MARK_BYTES as u64;
        Ok(())
    }

    /// The log was put aside, and begins anew.
    pub(super) fn put_aside(&mut self, cut: Cut) -> io::Result<()> {
        let marks = self.read()?;
        // What crosses the cut belongs to both sides.
        let crossing = marks.partition_point(|mark| mark.length < cut.end);
        let aside = marks.iter().take(crossing + 1);
        let aside = aside.filter(|mark| mark.length > cut.start);
        let aside: Vec<_> = aside
            .map(|mark| mark.at(mark.length.min(cut.end) - cut.start))
            .collect();
        let rest = marks.iter().filter(|mark| mark.length > cut.end);
        let rest: Vec<_> = rest.map(|mark| mark.at(mark.length - cut.end)).collect();
        let moved = write_whole(&self.former, &aside);
        self.begin_anew()?;
        if let Some(last) = rest.last() {
            write_whole(&self.path, &rest)?;
            self.last = *last;
            self.bytes = (rest.len() * MARK_BYTES) as u64;
        }
        moved
    }

    /// The log was emptied.
    pub(super) fn begin_anew(&mut self) -> io::Result<()> {
        self.last.length = 0;
        self.bytes = 0;
        remove_file(&self.path)
    }

    fn thin_out(&mut self) -> io::Result<()> {
        let marks = self.read()?;
        // Of each two the later one: what it says of lines before it is late, but never early.
        let kept: Vec<_> = marks.into_iter().skip(1).step_by(2).collect();
        write_whole(&self.path, &kept)?;
        self.bytes = (kept.len() * MARK_BYTES) as u64;
        Ok(())
    }

    fn read(&self) -> io::Result<Vec<Mark>> {
        match open(&self.path)? {
            Some(file) => read_marks(&file, 0, self.bytes / MARK_BYTES as u64),
            None => Ok(Vec::new()),
        }
    }
}

// === impl TimesReader ===

impl TimesReader {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            ahead: Vec::new(),
            at: 0,
            end: None,
        }
    }

    /// When the log grew to `length`, which is not 0; `None` if that was not marked yet. Asked for
    /// ever greater lengths.
    pub(super) fn time_of(&mut self, length: u64) -> io::Result<Option<SystemTime>> {
        if self.end.is_some_and(|end| length > end) {
            return Ok(None);
        }
        while let Some(mark) = self.ahead.get(self.at) {
            if mark.length >= length {
                return Ok(Some(mark.time()));
            }
            self.at += 1;
        }
        self.at = 0;
        self.ahead = match open(&self.path)? {
            Some(file) => {
                let from = search(&file, |mark| mark.length < length)?;
                read_marks(&file, from, MARKS_AHEAD)?
            }
            None => Vec::new(),
        };
        if self.ahead.is_empty() {
            self.end = Some(length - 1);
        }
        Ok(self.ahead.first().map(Mark::time))
    }

    /// There may be new marks.
    pub(super) fn look_again(&mut self) {
        self.end = None;
    }

    /// How long the log was when it had nothing yet of `since` or later, and whether it is known
    /// when it grew beyond that.
    pub(super) fn length_before(&self, since: SystemTime) -> io::Result<(u64, bool)> {
        let Some(file) = open(&self.path)? else {
            return Ok((0, false));
        };
        let since = millis(since);
        let at = search(&file, |mark| mark.millis < since)?;
        let before = match at.checked_sub(1) {
            Some(before) => read_marks(&file, before, 1)?.first().copied(),
            None => None,
        };
        let is_known = !read_marks(&file, at, 1)?.is_empty();
        Ok((before.unwrap_or_default().length, is_known))
    }
}

// === impl Mark ===

impl Mark {
    fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(self.millis)
    }

    /// The same time, at another length.
    fn at(self, length: u64) -> Self {
        Self { length, ..self }
    }

    fn to_line(self) -> String {
        let millis = self.millis.min(MILLIS_MAX);
        let length = self.length.min(LENGTH_MAX);
        format!("{millis:0TIME_DIGITS$} {length:0LENGTH_DIGITS$}\n")
    }

    /// Whatever a file may hold, it is a mark.
    fn from_line(line: &[u8]) -> Self {
        let number = |digits: &[u8]| {
            let text = str::from_utf8(digits).unwrap_or_default();
            text.parse().unwrap_or(0)
        };
        let (millis, length) = line.split_at(TIME_DIGITS);
        Self {
            millis: number(millis),
            length: number(&length[1..=LENGTH_DIGITS]),
        }
    }
}

/// Whether a clock that said `before` was wrong, since it is `after` now.
pub(super) fn was_ahead(before: SystemTime, after: SystemTime) -> bool {
    before
        .duration_since(after)
        .is_ok_and(|back| back > SET_BACK)
}

/// To the millisecond, as everywhere here; what lies before 1970 is its beginning.
fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// `time` without what is finer than a mark.
pub(super) fn rounded(time: SystemTime) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(millis(time))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE_MODE);
    options
}

/// In one stroke: a reader sees the former content or the new one.
fn write_whole(path: &Path, marks: &[Mark]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    let draft = PathBuf::from(draft);
    let text: String = marks.iter().map(|mark| mark.to_line()).collect();
    let file = options().truncate(true).open(&draft)?;
    let written = file.write_all_at(text.as_bytes(), 0);
    let written = written.and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        remove_file(&draft)?;
    }
    written
}

/// Up to `count` marks from the one numbered `from` on.
fn read_marks(file: &File, from: u64, count: u64) -> io::Result<Vec<Mark>> {
    let there = file.metadata()?.len() / MARK_BYTES as u64;
    let count = there.min(TIMES_MAX).saturating_sub(from).min(count);
    let mut bytes = vec![0; usize::try_from(count).unwrap_or(0) * MARK_BYTES];
    match file.read_exact_at(&mut bytes, from * MARK_BYTES as u64) {
        // It was put aside just now.
        Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(Vec::new()),
        read => read?,
    }
    Ok(bytes
        .chunks_exact(MARK_BYTES)
        .map(Mark::from_line)
        .collect())
}

/// The number of the first mark that is not `before`.
fn search(file: &File, before: impl Fn(&Mark) -> bool) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.metadata()?.len() / MARK_BYTES as u64);
    while low < high {
        let middle = low + (high - low) / 2;
        match read_marks(file, middle, 1)?.first() {
            Some(mark) if before(mark) => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_401_590_000 + millis)
    }

    fn times(folder: &Path) -> Times {
        Times::new(folder.join("f-1.times"), folder.join("f-1.times.1"))
    }

    #[test]
    fn marks_go_on_where_an_earlier_daemon_left_off() {
        let folder = tempfile::tempdir().unwrap();
        let mut first = times(folder.path());
        first.mark(at(1), 10).unwrap();
        first.mark(at(5), 30).unwrap();
        let whole = fs::read(&first.path).unwrap();
        // It died in the middle of a mark.
        fs::write(&first.path, [&whole[..], b"17644"].concat()).unwrap();
        let mut second = times(folder.path());
        assert_eq!(second.length(), 30);
        second.mark(at(9), 40).unwrap();
        let marks = second.read().unwrap();
        let lengths: Vec<_> = marks.iter().map(|mark| mark.length).collect();
        assert_eq!(lengths, [10, 30, 40]);
    }

    #[test]
    fn a_line_has_the_time_of_the_first_mark_beyond_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        for (millis, length) in [(1, 10), (5, 30), (5, 40)] {
            times.mark(at(millis), length).unwrap();
        }
        let text = fs::read_to_string(&times.path).unwrap();
        assert!(text.starts_with("1764401590001 000000000010\n"), "{text}");
        let mut reader = TimesReader::new(times.path.clone());
        for (length, millis) in [(1, 1), (10, 1), (11, 5), (40, 5)] {
            assert_eq!(
                reader.time_of(length).unwrap(),
                Some(at(millis)),
                "{length}"
            );
        }
        assert_eq!(reader.time_of(41).unwrap(), None);
        times.mark(at(9), 50).unwrap();
        assert_eq!(reader.time_of(42).unwrap(), None);
        reader.look_again();
        assert_eq!(reader.time_of(42).unwrap(), Some(at(9)));
    }

    #[test]
    fn a_time_is_found_among_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        let reader = TimesReader::new(times.path.clone());
        assert_eq!(reader.length_before(at(0)).unwrap(), (0, false));
        for number in 1..=1_000 {
            times.mark(at(10 * number), 7 * number).unwrap();
        }
        assert_eq!(reader.length_before(at(0)).unwrap(), (0, true));
        assert_eq!(reader.length_before(at(10)).unwrap(), (0, true));
        assert_eq!(reader.length_before(at(11)).unwrap(), (7, true));
        assert_eq!(reader.length_before(at(5_000)).unwrap(), (7 * 499, true));
        assert_eq!(reader.length_before(at(10_001)).unwrap(), (7_000, false));
        let mut reader = reader;
        assert_eq!(reader.time_of(7 * 600).unwrap(), Some(at(6_000)));
        assert_eq!(reader.time_of(7 * 900 + 1).unwrap(), Some(at(9_010)));
    }

    #[test]
    fn the_file_stays_short_and_the_youngest_marks_exact() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        let many = 3 * TIMES_MAX / MARK_BYTES as u64;
        for number in 1..=many {
            times.mark(at(number), number).unwrap();
        }
        assert!(fs::metadata(&times.path).unwrap().len() < TIMES_MAX + MARK_BYTES as u64);
        let mut reader = TimesReader::new(times.path.clone());
        let first = reader.time_of(1).unwrap().unwrap();
        assert!(first > at(1) && first < at(50), "{first:?}");
        assert_eq!(reader.time_of(many - 5).unwrap(), Some(at(many - 5)));
        assert_eq!(entries(folder.path()), 1);
    }

    #[test]
    fn marks_go_aside_with_their_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        for (millis, length) in [(1, 10), (2, 20), (3, 30)] {
            times.mark(at(millis), length).unwrap();
        }
        let (start, end) = (20, u64::MAX);
        times.put_aside(Cut { start, end }).unwrap();
        let mut reader = TimesReader::new(times.former.clone());
        assert_eq!(reader.time_of(10).unwrap(), Some(at(3)));
        assert_eq!((times.length(), entries(folder.path())), (0, 1));
        times.mark(at(4), 5).unwrap();
        let mut reader = TimesReader::new(times.path.clone());
        assert_eq!(reader.time_of(5).unwrap(), Some(at(4)));
    }

    #[test]
    fn marks_stay_with_what_stays_of_their_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        for (millis, length) in [(1, 10), (2, 20), (3, 30), (4, 40)] {
            times.mark(at(millis), length).unwrap();
        }
        times.put_aside(Cut { start: 0, end: 25 }).unwrap();
        let mut former = TimesReader::new(times.former.clone());
        assert_eq!(former.time_of(20).unwrap(), Some(at(2)));
        assert_eq!(former.time_of(25).unwrap(), Some(at(3)));
        assert_eq!(former.time_of(26).unwrap(), None);
        assert_eq!(times.length(), 15);
        times.mark(at(5), 20).unwrap();
        let mut reader = TimesReader::new(times.path.clone());
        for (length, millis) in [(1, 3), (5, 3), (6, 4), (16, 5)] {
            assert_eq!(reader.time_of(length).unwrap(), Some(at(millis)));
        }
    }

    #[test]
    fn a_clock_that_goes_back_and_a_file_of_nonsense_do_no_harm() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        times.mark(at(5), 10).unwrap();
        times.mark(at(2), 20).unwrap();
        times
            .mark(SystemTime::now() + Duration::from_secs(900), 30)
            .unwrap();
        let mut reader = TimesReader::new(times.path.clone());
        assert_eq!(reader.time_of(20).unwrap(), Some(at(5)));
        assert!(reader.time_of(30).unwrap().unwrap() <= SystemTime::now());
        fs::write(&times.path, "\u{fffd}".repeat(500)).unwrap();
        let mut reader = TimesReader::new(times.path.clone());
        assert_eq!(reader.time_of(7).unwrap(), None);
        assert_eq!(reader.length_before(at(1)).unwrap(), (0, false));
    }

    #[test]
    fn a_clock_that_was_ahead_for_a_moment_does_not_stay_ahead() {
        let folder = tempfile::tempdir().unwrap();
        let mut times = times(folder.path());
        let now = SystemTime::now();
        times.mark(now, 10).unwrap();
        times.last.millis = millis(now + Duration::from_secs(900));
        times.mark(SystemTime::now(), 20).unwrap();
        assert!(times.last.time() <= SystemTime::now());
        // What was a little ahead is waited for.
        let soon = millis(SystemTime::now()) + 900;
        times.last.millis = soon;
        times.mark(now, 30).unwrap();
        assert_eq!(times.last.millis, soon);
    }

    fn entries(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }
}
