use std::{
    io::{self, Read},
    vec,
};

use super::{
    error::Rule,
    pax::{PaxRecords, decimal},
    stream::BLOCK,
};

/// A number in a map that stands before the content, with its newline, in bytes.
const NUMBER: usize = 21;

/// A sparse file as the three formats of GNU tar for POSIX archives write it: the holes are not in
/// the content. (The reader of entries knows the older format itself.)
///
/// See <https://www.gnu.org/software/tar/manual/html_section/Sparse-Formats.html>.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SparseFile {
    /// Its length with all holes, in bytes.
    pub(super) size: u64,
    /// None yet when the map stands before the content.
    map: Option<Vec<Piece>>,
}

/// Some content between two holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    offset: u64,
    length: u64,
}

/// The content of a sparse file with its holes as zeros.
pub(super) struct Filled<R> {
    content: R,
    pieces: vec::IntoIter<Piece>,
    piece: Option<Piece>,
    position: u64,
    size: u64,
}

// === impl SparseFile ===

impl SparseFile {
    /// Whether the records of an extended header are of a sparse file.
    pub(super) fn is_meant_by(records: &PaxRecords<'_>) -> bool {
        let keys = ["GNU.sparse.major", "GNU.sparse.minor", "GNU.sparse.size"];
        keys.iter().any(|key| records.get(key).is_some())
    }

    /// From the records of an extended header; nothing when they are of no sparse file.
    pub(super) fn parse(records: &PaxRecords<'_>) -> Result<Option<Self>, Rule> {
        if !Self::is_meant_by(records) {
            return Ok(None);
        }
        let size = |key| records.number(key, "size");
        let major = records.get("GNU.sparse.major");
        let minor = records.get("GNU.sparse.minor");
        let (size, map) = match (major, minor) {
            (Some(b"1"), Some(b"0")) => (size("GNU.sparse.realsize")?, None),
            (None | Some(b"0"), None | Some(b"0" | b"1")) => {
                let map = match records.get("GNU.sparse.map") {
                    Some(map) => map
                        .split(|byte| *byte == b',')
                        .map(<[u8]>::to_vec)
                        .collect(),
                    None => numbers_of_records(records),
                };
                (size("GNU.sparse.size")?, Some(pieces(&map)?))
            }
            _ => return Err(Rule::SparseMap),
        };
        let size = size.ok_or(Rule::SparseMap)?;
        Ok(Some(Self { size, map }))
    }

    /// With the map, read from the beginning of `content` if that is where it is: at most `map_bytes`
    /// then.
    ///
    /// # Errors
    /// [`Rule::SparseMap`] unless the pieces are in order, inside of the file, and together
    /// `stored` bytes long (the map and its padding included, where it is part of the content).
    pub(super) fn fill<R: Read>(
        self,
        mut content: R,
        stored: u64,
        map_bytes: u64,
    ) -> Result<Filled<R>, Rule> {
        let (map, before) = match self.map {
            Some(map) => (map, 0),
            None => map_of(&mut content, stored.min(map_bytes))?,
        };
        let mut end = 0;
        let mut sum = before;
        for piece in &map {
            let next = piece.offset.checked_add(piece.length);
            let next = next.filter(|next| piece.offset >= end && *next <= self.size);
            end = next.ok_or(Rule::SparseMap)?;
            sum += piece.length; // no overflow: the pieces lie side by side in a u64
        }
        if sum != stored {
            return Err(Rule::SparseMap);
        }
        let mut pieces = map.into_iter();
        Ok(Filled {
            content,
            piece: pieces.next(),
            pieces,
            position: 0,
            size: self.size,
        })
    }
}

fn numbers_of_records(records: &PaxRecords<'_>) -> Vec<Vec<u8>> {
    let of_map = |key: &[u8]| key == b"GNU.sparse.offset" || key == b"GNU.sparse.numbytes";
    let of_map = records.iter().filter(|(key, _)| of_map(key));
    of_map.map(|(_, value)| value.to_vec()).collect()
}

fn pieces(numbers: &[Vec<u8>]) -> Result<Vec<Piece>, Rule> {
    let (pairs, odd) = numbers.as_chunks::<2>();
    let piece = |[offset, length]: &[Vec<u8>; 2]| {
        Some(Piece {
            offset: decimal(offset)?,
            length: decimal(length)?,
        })
    };
    let pieces: Option<_> = pairs.iter().map(piece).collect();
    pieces.filter(|_| odd.is_empty()).ok_or(Rule::SparseMap)
}

/// The map before the content: the count, then offset and length of each, a number a line, padded
/// to whole blocks. With the bytes that it took.
fn map_of(content: &mut impl Read, limit: u64) -> Result<(Vec<Piece>, u64), Rule> {
    let mut lines = Lines {
        content,
        block: [0; BLOCK],
        next: BLOCK,
        taken: 0,
        limit,
    };
    let count = lines.number()?;
    let mut map = Vec::new();
    for _ in 0..count {
        let offset = lines.number()?;
        let length = lines.number()?;
        map.push(Piece { offset, length });
    }
    Ok((map, lines.taken))
}

struct Lines<'a, R> {
    content: &'a mut R,
    block: [u8; BLOCK],
    next: usize,
    taken: u64,
    limit: u64,
}

impl<R: Read> Lines<'_, R> {
    fn number(&mut self) -> Result<u64, Rule> {
        let mut digits = Vec::with_capacity(NUMBER);
        loop {
            match self.byte()? {
                b'\n' if !digits.is_empty() => break,
                _ if digits.len() == NUMBER => return Err(Rule::SparseMap),
                digit => digits.push(digit),
            }
        }
        decimal(&digits).ok_or(Rule::SparseMap)
    }

    fn byte(&mut self) -> Result<u8, Rule> {
        if self.next == BLOCK {
            self.taken += BLOCK as u64;
            if self.taken > self.limit {
                return Err(Rule::SparseMap);
            }
            let read = self.content.read_exact(&mut self.block);
            read.map_err(|_| Rule::CutShort)?;
            self.next = 0;
        }
        self.next += 1;
        Ok(self.block[self.next - 1])
    }
}

// === impl Filled ===

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let until = match self.piece {
                None => self.size,
                Some(piece) if self.position < piece.offset => piece.offset,
                Some(piece) => {
                    let left = piece.offset + piece.length - self.position;
                    if left == 0 {
                        self.piece = self.pieces.next();
                        continue;
                    }
                    let room = short(buffer.len(), left);
                    let read = self.content.read(&mut buffer[..room])?;
                    self.position += read as u64;
                    return Ok(read);
                }
            };
            let hole = short(buffer.len(), until - self.position);
            buffer[..hole].fill(0);
            self.position += hole as u64;
            return Ok(hole);
        }
    }
}

fn short(room: usize, left: u64) -> usize {
    usize::try_from(left).map_or(room, |left| left.min(room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: u64, map: &[(u64, u64)], content: &[u8]) -> Result<Vec<u8>, Rule> {
        let piece = |&(offset, length): &(u64, u64)| Piece { offset, length };
        let map = Some(map.iter().map(piece).collect());
        let mut file = SparseFile { size, map }.fill(content, content.len() as u64, 0)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("it is valid");
        Ok(bytes)
    }

    #[test]
    fn holes_are_zeros() {
        let bytes = filled(9, &[(1, 2), (3, 0), (5, 1), (9, 0)], b"abc").expect("it is valid");
        assert_eq!(bytes, b"\0ab\0\0c\0\0\0");
        assert_eq!(filled(0, &[], b"").expect("it is valid"), b"");
    }

    #[test]
    fn a_map_must_be_one_of_the_file() {
        for (size, map) in [
            (9, &[(1, 2)][..]),
            (9, &[(1, 4)]),
            (9, &[(1, 2), (0, 1)]),
            (9, &[(1, 2), (2, 1)]),
            (3, &[(1, 3)]),
            (u64::MAX, &[(u64::MAX, 3)]),
        ] {
            assert_eq!(filled(size, map, b"abc"), Err(Rule::SparseMap), "{map:?}");
        }
    }

    #[test]
    fn a_map_before_the_content_is_bounded_by_it() {
        let huge = b"99999999999\n0\n1\n";
        let mut content = huge.to_vec();
        content.resize(BLOCK, b'\n');
        let file = || SparseFile { size: 9, map: None };
        let refused = file().fill(&content[..], BLOCK as u64, 4096).err();
        assert_eq!(refused, Some(Rule::SparseMap));
        let refused = file().fill(&content[..100], BLOCK as u64, 4096).err();
        assert_eq!(refused, Some(Rule::CutShort));
    }
}
