use std::{
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use hob_model::{ReplicaId, port::LogQuery, wire::LogLine};

use super::{
    Cut, Part,
    keeper::LogKeeper,
    open, parts_of,
    seek::seek,
    times::{TimesReader, rounded, was_ahead},
    written::{Held, Log},
};

/// A longer line is cut here; the rest of it is passed by. In bytes.
pub(super) const LINE_MAX: usize = 64 << 10;
/// How much is read at once, in bytes.
const BLOCK: u64 = 64 << 10;

/// How far one replica's log was read. Holds one block and one line.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: ReplicaId,
    /// Nobody writes to it any more, so that its last line needs no end.
    pub(super) is_over: bool,
    path: PathBuf,
    /// `None` if it was over when the reader came: then nobody will put it aside.
    log: Option<Arc<Log>>,
    /// How often it had been put aside, and 1, when that was written which is read now.
    generation: u64,
    part: Part,
    /// The end of the block in the file of this part.
    offset: u64,
    /// Where reading ends, as generation and offset, if that is not when all is read: a replica
    /// may write faster.
    end: Option<(u64, u64)>,
    /// When that file was last written to, as of the block.
    written: SystemTime,
    times: TimesReader,
    block: Vec<u8>,
    /// Up to where lines were taken from the block.
    at: usize,
    /// The line that is not complete yet.
    line: Line,
    /// The line to be handed on next.
    ready: Option<LogLine>,
    /// No line is earlier than the one before it.
    last: SystemTime,
}

#[derive(Debug)]
enum Line {
    Open(Vec<u8>),
    /// Its beginning was handed on, its rest is passed by.
    Cut,
}

// === impl Place ===

impl Place {
    /// Begins in the log at `path` where `query` says; also tells how many lines that gives, if it
    /// asks for a tail.
    pub(super) fn new(
        keeper: &LogKeeper,
        path: PathBuf,
        replica: &str,
        query: &LogQuery,
    ) -> io::Result<(Self, usize)> {
        let log = keeper.find(&path);
        // Not put aside meanwhile.
        let held = log.as_ref().map(|log| log.hold());
        let newest = held.as_ref().map_or(1, Held::generation);
        let files = parts_of(&path)?;
        let length = files.last().map_or(0, |file| file.bytes);
        let beginning = seek(files, query)?;
        drop(held);
        let place = Self {
            id: ReplicaId(Arc::from(replica)),
            is_over: false,
            log,
            generation: match beginning.part {
                Part::Former => newest - 1,
                Part::Current => newest,
            },
            part: beginning.part,
            offset: beginning.offset,
            end: (!query.follow).then_some((newest, length)),
            written: SystemTime::UNIX_EPOCH,
            times: TimesReader::new(beginning.part.times(&path)),
            path,
            block: Vec::new(),
            at: 0,
            line: Line::Open(Vec::new()),
            ready: None,
            last: SystemTime::UNIX_EPOCH,
        };
        Ok((place, beginning.lines))
    }

    /// Its replica may have been so new that its log was not known yet.
    pub(super) fn join(&mut self, keeper: &LogKeeper) {
        if self.log.is_none() {
            self.log = keeper.find(&self.path);
        }
    }

    /// The next line, which stays until it is taken; none when all is read for now.
    pub(super) fn peek(&mut self) -> io::Result<Option<&LogLine>> {
        while self.ready.is_none() {
            if self.at < self.block.len() || self.read_block()? {
                self.read_line()?;
            } else {
                self.ready = self.last_line()?;
                break;
            }
        }
        Ok(self.ready.as_ref())
    }

    pub(super) fn take(&mut self) -> Option<LogLine> {
        self.ready.take()
    }

    /// False when there is nothing more for now.
    fn read_block(&mut self) -> io::Result<bool> {
        let log = self.log.clone();
        // Not put aside meanwhile.
        let held = log.as_ref().map(|log| log.hold());
        let newest = held.as_ref().map_or(1, Held::generation);
        let cut = held.as_ref().map(Held::cut);
        loop {
            self.keep_up(newest, cut);
            self.fill()?;
            if !self.block.is_empty() {
                return Ok(true);
            }
            if self.part == Part::Current {
                return Ok(false);
            }
            // The line at its end may end here, or go on in the next part.
            self.last = self.time_before(0)?;
            self.go_to(Part::Current, newest, 0);
        }
    }

    /// What was not read yet of a log that was put aside stands in its former part now, but for
    /// what stayed.
    fn keep_up(&mut self, newest: u64, cut: Option<Cut>) {
        match (newest - self.generation, cut) {
            (0, _) | (_, None) => {}
            (1, _) if self.part == Part::Former => {}
            (1, Some(Cut { start, end: stayed })) => {
                match &mut self.end {
                    Some(end) if end.1 > stayed => *end = (newest, end.1 - stayed),
                    Some((_, end)) => *end = end.saturating_sub(start),
                    None => {}
                }
                if self.offset < stayed {
                    let offset = self.offset.saturating_sub(start);
                    self.go_to(Part::Former, self.generation, offset);
                } else {
                    self.go_to(Part::Current, newest, self.offset - stayed);
                }
            }
            // The part after it is gone as well.
            _ => {
                self.line = Line::Open(Vec::new());
                self.go_to(Part::Former, newest - 1, 0);
            }
        }
    }

    fn go_to(&mut self, part: Part, generation: u64, offset: u64) {
        self.part = part;
        self.generation = generation;
        self.offset = offset;
        self.times = TimesReader::new(part.times(&self.path));
    }

    /// Reads the next block, which is empty when there is nothing more.
    fn fill(&mut self) -> io::Result<()> {
        self.at = 0;
        self.block.clear();
        let file = open(&self.part.log(&self.path))?;
        if let Some(mut file) = file {
            if self.part == Part::Current && file.metadata()?.len() < self.offset {
                // Somebody emptied it by hand.
                self.go_to(self.part, self.generation, 0);
            }
            file.seek(SeekFrom::Start(self.offset))?;
            file.by_ref()
                .take(self.room())
                .read_to_end(&mut self.block)?;
            // After the block, so that none of its lines are younger.
            self.written = file.metadata()?.modified()?;
        }
        if self.block.is_empty() {
            // Many replicas are followed and say nothing.
            self.block = Vec::new();
            return Ok(());
        }
        self.times.look_again();
        // The marks around here are at hand when the log is put aside meanwhile.
        self.times.time_of(self.offset + 1)?;
        self.offset += self.block.len() as u64;
        Ok(())
    }

    /// How much may be read at once.
    fn room(&self) -> u64 {
        match self.end {
            Some((last, _)) if self.generation > last => 0,
            Some((last, end)) if self.generation == last => {
                end.saturating_sub(self.offset).min(BLOCK)
            }
            _ => BLOCK,
        }
    }

    /// Goes through the block up to the end of a line, or of the block.
    fn read_line(&mut self) -> io::Result<()> {
        let rest = &self.block[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let text = &rest[..end.unwrap_or(rest.len())];
        self.at += end.map_or(rest.len(), |end| end + 1);
        let ends = end.is_some();
        match &mut self.line {
            Line::Cut if ends => self.line = Line::Open(Vec::new()),
            Line::Cut => {}
            Line::Open(line) => {
                let room = LINE_MAX - line.len();
                line.extend_from_slice(&text[..text.len().min(room)]);
                if ends || text.len() > room {
                    self.ready = Some(self.close(ends)?);
                }
            }
        }
        Ok(())
    }

    /// What has no end and will get none.
    fn last_line(&mut self) -> io::Result<Option<LogLine>> {
        match &self.line {
            Line::Open(bytes) if self.is_over && !bytes.is_empty() => self.close(true).map(Some),
            _ => Ok(None),
        }
    }

    fn close(&mut self, ends: bool) -> io::Result<LogLine> {
        let next = if ends {
            Line::Open(Vec::new())
        } else {
            Line::Cut
        };
        let bytes = match std::mem::replace(&mut self.line, next) {
            Line::Open(bytes) => bytes,
            Line::Cut => Vec::new(),
        };
        let unread = self.block.len() - self.at;
        self.last = self.time_before(unread)?;
        let text = String::from_utf8_lossy(&bytes);
        Ok(LogLine {
            instance: self.id.clone(),
            timestamp: self.last,
            text: text.strip_suffix('\r').unwrap_or(&text).to_owned(),
        })
    }

    /// When that was written which lies `unread` bytes before the end of the block: not before
    /// the last line, unless that was by a clock that was ahead.
    fn time_before(&mut self, unread: usize) -> io::Result<SystemTime> {
        let length = self.offset - unread as u64;
        if length == 0 {
            // It was written to the part before.
            return Ok(self.last);
        }
        Ok(match self.times.time_of(length)? {
            Some(marked) if was_ahead(self.last, marked) => marked,
            marked => marked
                .unwrap_or_else(|| rounded(self.written))
                .max(self.last),
        })
    }
}
