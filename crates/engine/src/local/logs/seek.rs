//! Where to begin in the log of one replica.

use std::{
    io::{self, Read, Seek, SeekFrom},
    time::SystemTime,
};

use hob_model::port::LogQuery;

use super::{LogFile, Part, open, times::TimesReader};

/// How much is read at once when the beginning of a line is looked for, in bytes.
const BLOCK: usize = 64 << 10;

/// The first line that is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning {
    pub(super) part: Part,
    pub(super) offset: u64,
    /// How many lines there are from there on, if there is a tail.
    pub(super) lines: usize,
}

/// Finds the beginning in the `files` of one replica, of which the last one grows.
pub(super) fn seek(mut files: Vec<LogFile>, query: &LogQuery) -> io::Result<Beginning> {
    let mut wanted = query.tail.unwrap_or(0);
    let mut beginning = Beginning {
        part: Part::Current,
        offset: 0,
        lines: 0,
    };
    // Whether the line at the end of a file goes on in the next one.
    let mut goes_on = false;
    while let Some(file) = files.pop() {
        let mut offset = match query.since {
            Some(since) => skip_to(&file, since)?,
            None => 0,
        };
        if query.tail.is_some() {
            let lines;
            (offset, lines) = skip_back(&file, offset, wanted, goes_on)?;
            wanted -= lines;
            beginning.lines += lines;
        }
        beginning.part = file.part;
        beginning.offset = offset;
        goes_on = file.bytes > 0;
        if offset > 0 {
            // Lines of the file before come before all that is asked for.
            break;
        }
    }
    Ok(beginning)
}

/// The beginning of the first line of `since` or later.
fn skip_to(file: &LogFile, since: SystemTime) -> io::Result<u64> {
    let (before, is_known) = TimesReader::new(file.times.clone()).length_before(since)?;
    if !is_known && file.written < since {
        return Ok(file.bytes);
    }
    // A line belongs to the time of its end.
    let before = before.min(file.bytes);
    let (start, _) = skip_back(
        &LogFile {
            bytes: before,
            ..file.clone()
        },
        0,
        0,
        true,
    )?;
    Ok(start)
}

/// Where the `wanted` last lines of `file` begin, but not before `floor`, and how many they are.
/// A last line that `goes_on` in another file counts there. Reads from the end, block by block.
fn skip_back(file: &LogFile, floor: u64, wanted: usize, goes_on: bool) -> io::Result<(u64, usize)> {
    let Some(mut source) = open(&file.path)?.filter(|_| file.bytes > floor) else {
        return Ok((floor, 0));
    };
    let mut block = vec![0; BLOCK];
    let mut start = file.bytes;
    let mut lines = 0;
    while start > floor {
        let length = usize::try_from(start - floor).unwrap_or(BLOCK).min(BLOCK);
        let is_last = start == file.bytes;
        start -= length as u64;
        source.seek(SeekFrom::Start(start))?;
        let block = &mut block[..length];
        match source.read_exact(block) {
            // It was put aside just now.
            Err(problem) if problem.kind() == io::ErrorKind::UnexpectedEof => {
                return Ok((floor, 0));
            }
            read => read?,
        }
        if is_last && block[length - 1] != b'\n' && !goes_on {
            if wanted == 0 {
                return Ok((file.bytes, 0));
            }
            lines = 1;
        }
        for (at, _) in block.iter().enumerate().rev().filter(|(_, b)| **b == b'\n') {
            // All that is behind this one.
            if lines == wanted {
                return Ok((start + at as u64 + 1, lines));
            }
            lines += 1;
        }
    }
    Ok((floor, lines))
}
