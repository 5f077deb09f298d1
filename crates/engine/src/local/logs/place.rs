use std::{
    collections::VecDeque,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
    time::SystemTime,
};

use hob_model::{ReplicaId, wire::LogLine};

use super::{
    LogFile, Part, open,
    times::{TimesReader, rounded},
};

/// A longer line is cut here; the rest of it is passed by. In bytes.
pub(super) const LINE_MAX: usize = 64 << 10;
/// How much is read at once, in bytes.
const BLOCK: usize = 64 << 10;

/// How far one replica's log was read. Holds one block and one line.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: ReplicaId,
    /// Nobody writes to it any more, so that its last line needs no end.
    pub(super) is_over: bool,
    /// What is still to be read, in order; the last one grows.
    parts: VecDeque<Piece>,
    /// When the former part was put aside, as far as is known.
    aside: Option<SystemTime>,
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

/// A file that is read from `offset` on.
#[derive(Debug)]
struct Piece {
    part: Part,
    path: PathBuf,
    /// The end of the block.
    offset: u64,
    /// When it was last written to, as of the block.
    written: SystemTime,
    times: TimesReader,
}

#[derive(Debug)]
enum Line {
    Open(Vec<u8>),
    /// Its beginning was handed on, its rest is passed by.
    Cut,
}

// === impl Place ===

impl Place {
    /// Begins in the files of one replica, each with the offset of its first line.
    pub(super) fn new(replica: &str, files: Vec<(LogFile, u64)>) -> Self {
        let aside = files.iter().find(|(file, _)| file.part == Part::Former);
        Self {
            id: ReplicaId(Arc::from(replica)),
            is_over: false,
            aside: aside.map(|(file, _)| file.written),
            parts: files
                .into_iter()
                .map(|(file, at)| Piece::new(file, at))
                .collect(),
            block: Vec::new(),
            at: 0,
            line: Line::Open(Vec::new()),
            ready: None,
            last: SystemTime::UNIX_EPOCH,
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

    /// The files as they are now. What was not read yet of a log that was put aside stands in its
    /// former part.
    pub(super) fn look_again(&mut self, files: &[LogFile]) {
        let find = |part| files.iter().find(|file| file.part == part);
        let (Some(current), Some(piece)) = (find(Part::Current), self.parts.back()) else {
            return;
        };
        let former = find(Part::Former);
        let is_new = former.is_some_and(|former| self.aside != Some(former.written));
        // Longer than what was put aside: not emptied yet, or it will be put aside again.
        let is_short = former.is_some_and(|former| current.bytes < former.bytes);
        let is_put_aside = current.bytes < piece.offset || (is_new && is_short);
        if piece.part == Part::Former || !is_put_aside {
            return;
        }
        let offset = piece.offset;
        self.parts.clear();
        if let Some(former) = former {
            self.aside = Some(former.written);
            self.parts.push_back(Piece::new(former.clone(), offset));
        }
        self.parts.push_back(Piece::new(current.clone(), 0));
    }

    /// False when there is nothing more for now.
    fn read_block(&mut self) -> io::Result<bool> {
        while !self.parts.is_empty() {
            let is_last = self.parts.len() == 1;
            let piece = &mut self.parts[0];
            self.at = 0;
            piece.read(&mut self.block)?;
            if !self.block.is_empty() {
                return Ok(true);
            }
            if is_last {
                break;
            }
            // The line at its end may end here, or go on in the next part.
            self.last = self.last.max(piece.time_before(0)?);
            self.parts.pop_front();
        }
        // Many replicas are followed and say nothing.
        self.block = Vec::new();
        Ok(false)
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
        if let Some(piece) = self.parts.front_mut() {
            let unread = self.block.len() - self.at;
            self.last = self.last.max(piece.time_before(unread)?);
        }
        let text = String::from_utf8_lossy(&bytes);
        Ok(LogLine {
            instance: self.id.clone(),
            timestamp: self.last,
            text: text.strip_suffix('\r').unwrap_or(&text).to_owned(),
        })
    }
}

// === impl Piece ===

impl Piece {
    fn new(file: LogFile, offset: u64) -> Self {
        Self {
            part: file.part,
            path: file.path,
            offset,
            written: file.written,
            times: TimesReader::new(file.times),
        }
    }

    /// The next block, empty when there is nothing more.
    fn read(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        block.clear();
        let Some(mut file) = open(&self.path)? else {
            return Ok(());
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let about = file.by_ref();
        about.take(BLOCK as u64).read_to_end(block)?;
        self.offset += block.len() as u64;
        // After the block, so that none of its lines are younger.
        self.written = file.metadata()?.modified()?;
        self.times.look_again();
        Ok(())
    }

    /// When that was written which lies `unread` bytes before the end of the block.
    fn time_before(&mut self, unread: usize) -> io::Result<SystemTime> {
        match self.offset - unread as u64 {
            // It was written to the part before.
            0 => Ok(SystemTime::UNIX_EPOCH),
            length => {
                let marked = self.times.time_of(length)?;
                Ok(marked.unwrap_or_else(|| rounded(self.written)))
            }
        }
    }
}
