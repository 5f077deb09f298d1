use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use hob_model::{ReplicaId, wire::LogLine};

use super::{LogFile, Part, list};

/// A longer line is cut here; the rest of it is passed by.
const LINE_MAX: usize = 64 << 10;
/// How much is read at once, and about how much is handed on at once.
const BLOCK: usize = 64 << 10;

/// Reads the logs of a function from some place on, replica by replica. Blocks on files; holds
/// one block and one unfinished line per file, whatever their length.
#[derive(Debug)]
pub(super) struct LogReader {
    folder: PathBuf,
    places: Vec<Place>,
    pace: Pace,
}

/// In which order lines come.
#[derive(Debug)]
enum Pace {
    /// All of one replica before any of the next: what was written before the reader came.
    InTurn,
    /// Some of each in turn, so that a loud replica does not hide the others.
    Together,
}

/// How far one replica's log was read.
#[derive(Debug)]
struct Place {
    id: ReplicaId,
    part: Part,
    path: PathBuf,
    offset: u64,
    line: Line,
}

/// The line that is not complete yet.
#[derive(Debug)]
enum Line {
    Open(Vec<u8>),
    /// Its beginning was handed on, its rest is passed by.
    Cut,
}

// === impl LogReader ===

impl LogReader {
    /// Begins `tail` lines before the end of all logs together, or at their very beginning.
    pub(super) fn new(folder: PathBuf, tail: Option<usize>) -> io::Result<Self> {
        let mut files = list(&folder)?;
        let mut wanted = tail.unwrap_or(usize::MAX);
        let mut places = Vec::new();
        while let Some(file) = files.pop() {
            let offset = match tail {
                None => 0,
                Some(_) => skip_back(&file, &mut wanted)?,
            };
            places.push(Place::new(file, offset));
        }
        places.reverse();
        Ok(Self {
            folder,
            places,
            pace: Pace::InTurn,
        })
    }

    /// The next lines, about a block of them; none when all is read for now.
    pub(super) fn next_lines(&mut self) -> io::Result<Vec<LogLine>> {
        let mut lines = Vec::new();
        for at in 0..self.places.len() {
            let before = lines.len();
            self.places[at].read(&mut lines)?;
            if lines.len() == before {
                self.carry_over(at);
            }
            if matches!(self.pace, Pace::InTurn) && !lines.is_empty() {
                return Ok(lines);
            }
        }
        if lines.is_empty() {
            self.pace = Pace::Together;
        }
        Ok(lines)
    }

    /// Hands on the last lines that have no end, of all replicas but those that may still
    /// write it.
    pub(super) fn finish(&mut self, living: &BTreeSet<String>) -> Vec<LogLine> {
        let ended = self.places.iter_mut();
        ended
            .filter(|place| !living.contains(&*place.id.0))
            .filter_map(Place::finish)
            .collect()
    }

    /// Looks for logs of new replicas, and for those that were put aside.
    pub(super) fn look_again(&mut self) -> io::Result<()> {
        let files = list(&self.folder)?;
        self.places
            .retain(|place| files.iter().any(|file| file.replica == *place.id.0));
        for file in files {
            let same = |place: &Place| place.id.0.as_ref() == file.replica;
            match self.places.iter().rposition(same) {
                None => self.places.push(Place::new(file, 0)),
                Some(at) if file.part == Part::Current => self.follow_cut(at, file),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// What was not read yet of a log that was put aside stands in its former part now.
    fn follow_cut(&mut self, at: usize, file: LogFile) {
        let place = &mut self.places[at];
        match place.part {
            Part::Current if file.bytes >= place.offset => return,
            Part::Current => {
                place.path = file.path.with_extension("log.1");
                place.part = Part::Former;
            }
            Part::Former => {}
        }
        self.places.insert(at + 1, Place::new(file, 0));
        if at > 0 && self.places[at - 1].id == self.places[at].id {
            self.places.remove(at - 1);
        }
    }

    /// A line that was cut in two with its log is one line again.
    fn carry_over(&mut self, at: usize) {
        let (before, after) = self.places.split_at_mut(at + 1);
        if let ([.., former], [current, ..]) = (before, after)
            && former.id == current.id
            && current.offset == 0
        {
            current.line = std::mem::replace(&mut former.line, Line::Open(Vec::new()));
        }
    }
}

// === impl Place ===

impl Place {
    fn new(file: LogFile, offset: u64) -> Self {
        Self {
            id: ReplicaId(Arc::from(file.replica)),
            part: file.part,
            path: file.path,
            offset,
            line: Line::Open(Vec::new()),
        }
    }

    /// Reads on until there is at least one line or nothing more.
    fn read(&mut self, lines: &mut Vec<LogLine>) -> io::Result<()> {
        let Some(file) = open(&self.path)? else {
            return Ok(());
        };
        let mut file = BufReader::with_capacity(BLOCK, file);
        file.seek(SeekFrom::Start(self.offset))?;
        while lines.is_empty() {
            let block = file.fill_buf()?;
            if block.is_empty() {
                break;
            }
            let length = block.len();
            for piece in block.split_inclusive(|&byte| byte == b'\n') {
                lines.extend(self.take(piece));
            }
            file.consume(length);
            self.offset += length as u64;
        }
        Ok(())
    }

    fn take(&mut self, piece: &[u8]) -> Option<LogLine> {
        let (text, ends) = match piece.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (piece, false),
        };
        match &mut self.line {
            Line::Cut if ends => {
                self.line = Line::Open(Vec::new());
                None
            }
            Line::Cut => None,
            Line::Open(line) => {
                let room = LINE_MAX - line.len();
                line.extend_from_slice(&text[..text.len().min(room)]);
                let full = text.len() > room;
                (ends || full).then(|| self.close(ends))
            }
        }
    }

    fn close(&mut self, ends: bool) -> LogLine {
        let next = if ends {
            Line::Open(Vec::new())
        } else {
            Line::Cut
        };
        let bytes = match std::mem::replace(&mut self.line, next) {
            Line::Open(bytes) => bytes,
            Line::Cut => Vec::new(),
        };
        let text = String::from_utf8_lossy(&bytes);
        LogLine {
            instance: self.id.clone(),
            text: text.strip_suffix('\r').unwrap_or(&text).to_owned(),
        }
    }

    fn finish(&mut self) -> Option<LogLine> {
        match &self.line {
            Line::Open(bytes) if !bytes.is_empty() => Some(self.close(true)),
            _ => None,
        }
    }
}

/// `None` if it was removed meanwhile.
fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(None),
        file => file.map(Some),
    }
}

/// The offset `wanted` lines before the end of `file`, and how many are wanted from files
/// before it. Reads from the end, block by block.
fn skip_back(file: &LogFile, wanted: &mut usize) -> io::Result<u64> {
    let Some(mut source) = open(&file.path)? else {
        return Ok(0);
    };
    if *wanted == 0 {
        return Ok(file.bytes);
    }
    let mut block = vec![0; BLOCK];
    let mut start = file.bytes;
    // The end of the last line begins no line, whether its newline is there or not.
    let mut last = true;
    while start > 0 {
        let length = usize::try_from(start).unwrap_or(BLOCK).min(BLOCK);
        start -= length as u64;
        source.seek(SeekFrom::Start(start))?;
        let block = &mut block[..length];
        match source.read_exact(block) {
            Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            read => read?,
        }
        for (at, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            if std::mem::take(&mut last) && start + at as u64 + 1 == file.bytes {
                continue;
            }
            *wanted -= 1;
            if *wanted == 0 {
                return Ok(start + at as u64 + 1);
            }
        }
    }
    // The first line has no newline before it.
    *wanted -= usize::from(file.bytes > 0);
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, io::Write};

    use super::super::{create, path_of};
    use super::*;

    fn read_all(reader: &mut LogReader) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let lines = reader.next_lines().unwrap();
            if lines.is_empty() {
                all.extend(reader.finish(&BTreeSet::new()));
                return all.into_iter().map(|line: LogLine| line.text).collect();
            }
            all.extend(lines);
        }
    }

    fn tail(folder: &Path, lines: usize) -> Vec<String> {
        read_all(&mut LogReader::new(folder.to_owned(), Some(lines)).unwrap())
    }

    #[test]
    fn a_tail_reaches_back_over_several_replicas() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write!(create(folder, "f-1").unwrap(), "a\nb\n").unwrap();
        write!(create(folder, "f-2").unwrap(), "c\nd").unwrap();
        create(folder, "f-3").unwrap();
        assert_eq!(tail(folder, 0), Vec::<String>::new());
        assert_eq!(tail(folder, 1), ["d"]);
        assert_eq!(tail(folder, 2), ["c", "d"]);
        assert_eq!(tail(folder, 3), ["b", "c", "d"]);
        assert_eq!(tail(folder, 9), ["a", "b", "c", "d"]);
        let mut all = LogReader::new(folder.to_owned(), None).unwrap();
        assert_eq!(read_all(&mut all), ["a", "b", "c", "d"]);
    }

    #[test]
    fn a_tail_is_right_across_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = create(folder.path(), "f-1").unwrap();
        let lines: Vec<_> = (0..50_000).map(|n| format!("line {n}")).collect();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        for count in [1, 4_000, 30_000, 49_999, 50_000, 50_001] {
            let start = lines.len().saturating_sub(count);
            assert_eq!(tail(folder.path(), count), lines[start..], "{count}");
        }
    }

    #[test]
    fn a_line_without_measure_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = create(folder.path(), "f-1").unwrap();
        file.write_all(&vec![b'x'; 3 * LINE_MAX]).unwrap();
        file.write_all(b"\nnext\n").unwrap();
        file.write_all(&vec![b'y'; LINE_MAX]).unwrap();
        file.write_all(b"\nlast\n").unwrap();
        let mut reader = LogReader::new(folder.path().to_owned(), None).unwrap();
        let lines = read_all(&mut reader);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0].len(), LINE_MAX);
        assert_eq!(lines[1], "next");
        assert_eq!(lines[2].len(), LINE_MAX);
    }

    #[test]
    fn a_log_that_was_put_aside_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = create(folder.path(), "f-1").unwrap();
        let path = path_of(folder.path(), "f-1");
        file.write_all(b"one\n").unwrap();
        let mut reader = LogReader::new(folder.path().to_owned(), None).unwrap();
        assert_eq!(read_all(&mut reader), ["one"]);
        file.write_all(b"two\nthr").unwrap();
        fs::copy(&path, path.with_extension("log.1")).unwrap();
        file.set_len(0).unwrap();
        file.write_all(b"ee\n").unwrap();
        reader.look_again().unwrap();
        assert_eq!(read_all(&mut reader), ["two", "three"]);
        create(folder.path(), "f-2")
            .unwrap()
            .write_all(b"four\n")
            .unwrap();
        reader.look_again().unwrap();
        assert_eq!(read_all(&mut reader), ["four"]);
    }
}
