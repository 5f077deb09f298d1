use std::{collections::BTreeSet, io, path::PathBuf, sync::Arc, time::SystemTime};

use hob_model::{ReplicaId, port::LogQuery, wire::LogLine};

use super::{keeper::LogKeeper, list, path_of, place::Place};

/// About how much is handed on at once, in bytes of text.
const HANDFUL: usize = 64 << 10;
/// What a line takes besides its text, in bytes.
const LINE_COST: usize = 64;

/// Reads the logs of a function from some place on, in the order of their times. Blocks on files;
/// holds a block and a line for each replica, whatever the length of their logs.
#[derive(Debug)]
pub(super) struct LogReader {
    keeper: Arc<LogKeeper>,
    folder: PathBuf,
    instance: Option<ReplicaId>,
    /// By start of the replica.
    places: Vec<Place>,
    /// So many lines come before those that were asked for: each replica gives as many as are
    /// wanted of all.
    surplus: usize,
}

// === impl LogReader ===

impl LogReader {
    /// Begins where `query` says.
    pub(super) fn new(
        keeper: Arc<LogKeeper>,
        folder: PathBuf,
        query: &LogQuery,
    ) -> io::Result<Self> {
        let mut reader = Self {
            keeper,
            folder,
            instance: query.instance.clone(),
            places: Vec::new(),
            surplus: 0,
        };
        let lines = reader.take_in(reader.replicas()?, query)?;
        reader.surplus = lines.saturating_sub(query.tail.unwrap_or(usize::MAX));
        Ok(reader)
    }

    /// The next lines, about a handful of them; none when all is read for now. A last line that
    /// has no end is handed on unless its replica is one of the `living`, who may still write it.
    pub(super) fn next_lines(&mut self, living: &BTreeSet<String>) -> io::Result<Vec<LogLine>> {
        for place in &mut self.places {
            place.is_over = !living.contains(&*place.id.0);
        }
        let mut lines = Vec::new();
        let mut room = HANDFUL;
        while room > 0 {
            let Some(line) = self.next_line()? else { break };
            if self.surplus > 0 {
                self.surplus -= 1;
                continue;
            }
            room = room.saturating_sub(LINE_COST + line.text.len());
            lines.push(line);
        }
        Ok(lines)
    }

    /// Looks for logs of new replicas.
    pub(super) fn look_again(&mut self) -> io::Result<()> {
        let mut replicas = self.replicas()?;
        self.places
            .retain(|place| replicas.iter().any(|replica| *place.id.0 == **replica));
        for place in &mut self.places {
            place.join(&self.keeper);
        }
        replicas.retain(|replica| self.places.iter().all(|place| *place.id.0 != **replica));
        let all = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        self.take_in(replicas, &all).map(drop)
    }

    /// Returns how many lines they have.
    fn take_in(&mut self, replicas: Vec<String>, query: &LogQuery) -> io::Result<usize> {
        let mut count: usize = 0;
        for replica in replicas {
            let path = path_of(&self.folder, &replica);
            let (place, lines) = Place::new(&self.keeper, path, &replica, query)?;
            count += lines;
            self.places.push(place);
        }
        Ok(count)
    }

    /// The earliest line of all replicas.
    fn next_line(&mut self) -> io::Result<Option<LogLine>> {
        let mut earliest: Option<(SystemTime, usize)> = None;
        for (at, place) in self.places.iter_mut().enumerate() {
            if let Some(line) = place.peek()?
                && earliest.is_none_or(|(time, _)| line.timestamp < time)
            {
                earliest = Some((line.timestamp, at));
            }
        }
        Ok(earliest.and_then(|(_, at)| self.places[at].take()))
    }

    /// Those that have a log and are asked for.
    fn replicas(&self) -> io::Result<Vec<String>> {
        let files = list(&self.folder)?.into_iter();
        let mut replicas: Vec<_> = files.map(|file| file.replica).collect();
        replicas.dedup();
        if let Some(instance) = &self.instance {
            replicas.retain(|replica| **replica == *instance.0);
        }
        Ok(replicas)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, io::Write, path::Path, time::Duration};

    use super::super::{Part, Quota, create, place::LINE_MAX, quota::PART_MAX, times::Times};
    use super::*;

    fn read_all(reader: &mut LogReader) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let lines = reader.next_lines(&BTreeSet::new()).unwrap();
            if lines.is_empty() {
                return all;
            }
            all.extend(lines.into_iter().map(|line| line.text));
        }
    }

    fn reader(folder: &Path, query: LogQuery) -> LogReader {
        LogReader::new(LogKeeper::new(Quota::default()), folder.to_owned(), &query).unwrap()
    }

    fn tail(folder: &Path, lines: usize) -> Vec<String> {
        let tail = Some(lines);
        read_all(&mut reader(
            folder,
            LogQuery {
                tail,
                ..LogQuery::default()
            },
        ))
    }

    fn at(millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_764_401_590_000 + millis)
    }

    /// Writes a log whose pieces were written at the times before them.
    fn write_timed(folder: &Path, replica: &str, pieces: &[(u64, &str)]) {
        let path = path_of(folder, replica);
        let mut log = create(folder, replica).unwrap();
        let mut times = Times::new(Part::Current.times(&path), Part::Former.times(&path));
        for (millis, text) in pieces {
            log.write_all(text.as_bytes()).unwrap();
            times
                .mark(at(*millis), fs::metadata(&path).unwrap().len())
                .unwrap();
        }
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
        let mut all = reader(folder, LogQuery::default());
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
        let mut reader = reader(folder.path(), LogQuery::default());
        let lines = read_all(&mut reader);
        assert_eq!(lines.len(), 4);
        assert_eq!(lines[0].len(), LINE_MAX);
        assert_eq!(lines[1], "next");
        assert_eq!(lines[2].len(), LINE_MAX);
    }

    #[test]
    fn a_log_that_was_put_aside_loses_no_line() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let keeper = LogKeeper::new(Quota::default());
        let mut file = create(folder, "f-1").unwrap();
        let open = keeper.open(path_of(folder, "f-1"));
        file.write_all(b"one\n").unwrap();
        let query = LogQuery {
            follow: true,
            ..LogQuery::default()
        };
        let mut reader = LogReader::new(keeper, folder.to_owned(), &query).unwrap();
        assert_eq!(read_all(&mut reader), ["one"]);
        file.write_all(&vec![b'x'; usize::try_from(PART_MAX).unwrap()])
            .unwrap();
        file.write_all(b"\ntwo\nthr").unwrap();
        drop(open);
        file.write_all(b"ee\n").unwrap();
        // Longer than what was read of the former part.
        file.write_all(&[b'y'; 99]).unwrap();
        let lines = read_all(&mut reader);
        assert_eq!(lines[1..3], ["two", "three"]);
        assert_eq!((lines[0].len(), lines[3].len()), (LINE_MAX, 99));
        create(folder, "f-2").unwrap().write_all(b"four\n").unwrap();
        reader.look_again().unwrap();
        assert_eq!(read_all(&mut reader), ["four"]);
    }

    #[test]
    fn lines_of_several_replicas_come_by_their_times() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_timed(folder, "f-1", &[(1, "a1\na2\n"), (7, "a7\n"), (9, "a9")]);
        write_timed(folder, "f-2", &[(2, "b2\n"), (7, "b7\n"), (8, "b8\n")]);
        let all = ["a1", "a2", "b2", "a7", "b7", "b8", "a9"];
        assert_eq!(read_all(&mut reader(folder, LogQuery::default())), all);
        for count in 0..9 {
            assert_eq!(
                tail(folder, count),
                all[7_usize.saturating_sub(count)..],
                "{count}"
            );
        }
        let instance = Some(ReplicaId("f-2".into()));
        let only = LogQuery {
            instance,
            tail: Some(2),
            ..LogQuery::default()
        };
        assert_eq!(read_all(&mut reader(folder, only)), ["b7", "b8"]);
        let lines = reader(folder, LogQuery::default())
            .next_lines(&BTreeSet::new())
            .unwrap();
        let times: Vec<_> = lines.iter().map(|line| line.timestamp).collect();
        assert_eq!(times, [1, 1, 2, 7, 7, 8, 9].map(at));
    }

    #[test]
    fn lines_after_a_moment_of_a_clock_that_was_ahead_have_their_own_times() {
        let folder = tempfile::tempdir().unwrap();
        write!(create(folder.path(), "f-1").unwrap(), "a\nb\nc\n").unwrap();
        // Of the second line, the clock was an hour ahead.
        let marks = "1764401590001 000000000002\n\
                     1764405190000 000000000004\n\
                     1764401590005 000000000006\n";
        fs::write(folder.path().join("f-1.times"), marks).unwrap();
        let mut all = reader(folder.path(), LogQuery::default());
        let lines = all.next_lines(&BTreeSet::new()).unwrap();
        let times: Vec<_> = lines.iter().map(|line| line.timestamp).collect();
        assert_eq!(times, [1, 3_600_000, 5].map(at));
        for (since, expected) in [(1, "abc"), (2, "bc"), (5, "bc"), (3_600_000, "bc")] {
            let since = Some(at(since));
            let query = LogQuery {
                since,
                ..LogQuery::default()
            };
            let text = read_all(&mut reader(folder.path(), query)).concat();
            assert_eq!(text, expected, "{since:?}");
        }
    }

    #[test]
    fn older_lines_are_left_out_and_a_line_counts_when_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write_timed(folder, "f-1", &[(1, "a\nb\n"), (5, "be"), (9, "gun\nd\n")]);
        let since = |millis, tail| {
            let since = Some(at(millis));
            read_all(&mut reader(
                folder,
                LogQuery {
                    since,
                    tail,
                    ..LogQuery::default()
                },
            ))
        };
        assert_eq!(since(0, None), ["a", "b", "begun", "d"]);
        assert_eq!(since(1, None), ["a", "b", "begun", "d"]);
        assert_eq!(since(2, None), ["begun", "d"]);
        assert_eq!(since(9, None), ["begun", "d"]);
        assert_eq!(since(9, Some(1)), ["d"]);
        assert_eq!(since(2, Some(7)), ["begun", "d"]);
        // What has no mark has the time of the file, which is now.
        assert_eq!(since(10, None), Vec::<String>::new());
        let log = path_of(folder, "f-1");
        fs::OpenOptions::new()
            .append(true)
            .open(&log)
            .unwrap()
            .write_all(b"new\n")
            .unwrap();
        assert_eq!(since(10, None), ["new"]);
        assert_eq!(since(9, None), ["begun", "d", "new"]);
        fs::remove_file(Part::Current.times(&log)).unwrap();
        assert_eq!(since(10, None).len(), 5);
    }

    #[test]
    fn reading_ends_where_the_log_did_when_it_began() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let keeper = LogKeeper::new(Quota::default());
        let mut file = create(folder, "f-1").unwrap();
        let open = keeper.open(path_of(folder, "f-1"));
        let mut write = |text: &[u8]| file.write_all(text).unwrap();
        write(b"one\ntwo");
        let query = LogQuery::default();
        let new = || LogReader::new(Arc::clone(&keeper), folder.to_owned(), &query).unwrap();
        let (mut soon, mut late) = (new(), new());
        write(b"\nthree\n");
        assert_eq!(read_all(&mut soon), ["one", "two"]);
        write(&vec![b'\n'; usize::try_from(PART_MAX).unwrap()]);
        drop(open);
        write(b"four\n");
        assert_eq!(read_all(&mut late), ["one", "two"]);
    }

    #[test]
    fn a_line_cut_in_two_with_its_log_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let path = path_of(folder, "f-1");
        fs::write(path.with_extension("log.1"), "one\ntwo\nthr").unwrap();
        for (text, all) in [
            ("ee\nfour\n", &["one", "two", "three", "four"][..]),
            ("", &["one", "two", "thr"]),
            ("ee", &["one", "two", "three"]),
        ] {
            fs::write(&path, text).unwrap();
            for count in 0..6 {
                let expected = &all[all.len().saturating_sub(count)..];
                assert_eq!(tail(folder, count), expected, "{text} {count}");
            }
        }
    }
}
