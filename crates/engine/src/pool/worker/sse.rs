//! Server-sent events, as far as workers send them.

use std::{collections::VecDeque, mem};

/// Most bytes of one event; a worker of bfaas needs 25 KB for 4 KB of output.
const LARGEST: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    /// What stands after `event:`; empty where nothing does.
    pub(super) name: String,
    /// All after `data:`, line by line.
    pub(super) data: Vec<u8>,
}

/// Takes bytes as they come and gives out whole events.
#[derive(Debug, Default)]
pub(super) struct Parser {
    line: Vec<u8>,
    name: String,
    data: Option<Vec<u8>>,
    done: VecDeque<Event>,
}

/// One event is larger than any worker sends.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLarge;

// === impl Parser ===

impl Parser {
    /// Takes more bytes.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Result<(), TooLarge> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.line()?;
        }
        self.line.extend_from_slice(bytes);
        self.check()
    }

    /// The next event that is there.
    pub(super) fn next(&mut self) -> Option<Event> {
        self.done.pop_front()
    }

    fn line(&mut self) -> Result<(), TooLarge> {
        self.check()?;
        let mut line = mem::take(&mut self.line);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.is_empty() {
            let name = mem::take(&mut self.name);
            if let Some(data) = self.data.take() {
                self.done.push_back(Event { name, data });
            }
        } else if let Some(name) = value(&line, b"event") {
            self.name = String::from_utf8_lossy(name).into_owned();
        } else if let Some(more) = value(&line, b"data") {
            match &mut self.data {
                None => self.data = Some(more.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(more);
                }
            }
        }
        // Comments, and fields that mean nothing here, are passed over as the standard has it.
        line.clear();
        self.line = line;
        Ok(())
    }

    fn check(&self) -> Result<(), TooLarge> {
        let data = self.data.as_ref().map_or(0, Vec::len);
        if self.line.len() + self.name.len() + data > LARGEST {
            return Err(TooLarge);
        }
        Ok(())
    }
}

/// What stands after `field:` and at most one space.
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(field)?;
    let rest = match rest {
        [] => rest,
        [b':', rest @ ..] => rest,
        _ => return None,
    };
    Some(rest.strip_prefix(b" ").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for piece in pieces {
            parser.push(piece).expect("small");
            while let Some(event) = parser.next() {
                let data = String::from_utf8(event.data).expect("text");
                events.push((event.name, data));
            }
        }
        events
    }

    const RUN: &[u8] =
        b"event: stdout\ndata: \"hi\\n\"\n\nevent: stderr\ndata: \"\\u003c\"\n\nevent: exit\ndata: {\"code\":0}\n\n";

    #[test]
    fn events_come_whole_however_the_bytes_are_cut() {
        let whole = parse(&[RUN]);
        assert_eq!(whole.len(), 3);
        assert_eq!(whole[0], ("stdout".into(), "\"hi\\n\"".into()));
        assert_eq!(whole[2], ("exit".into(), "{\"code\":0}".into()));
        for size in 1..RUN.len() {
            let pieces: Vec<&[u8]> = RUN.chunks(size).collect();
            assert_eq!(parse(&pieces), whole, "pieces of {size}");
        }
    }

    #[test]
    fn what_is_half_there_at_the_end_is_no_event() {
        assert_eq!(parse(&[b"event: stdout\ndata: \"x\"\n"]), []);
        assert_eq!(parse(&[b"event: exit\n\n"]), []);
    }

    #[test]
    fn the_rest_of_the_standard_is_understood() {
        let text = b":comment\nid: 3\nevent:a\r\ndata:1\r\ndata: 2\r\nretry\r\n\r\ndatum: 3\n\n";
        assert_eq!(parse(&[text]), [("a".into(), "1\n2".into())]);
    }

    #[test]
    fn an_event_has_a_largest_size() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let pushed: Vec<_> = (0..5).map(|_| parser.push(&piece)).collect();
        assert_eq!(pushed[3], Ok(()));
        assert_eq!(pushed[4], Err(TooLarge));
        let mut parser = Parser::default();
        let line = [b"data: ", &piece[..], b"\n"].concat();
        assert!((0..5).any(|_| parser.push(&line).is_err()));
    }
}
