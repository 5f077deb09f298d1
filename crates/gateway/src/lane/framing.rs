use bytes::BufMut;

/// Bytes of chunk extensions and trailers, all of them ignored, that one answer may have.
const IGNORED_MAX: usize = 16 << 10;
/// Hexadecimal digits in the size of a chunk.
const SIZE_DIGITS_MAX: u32 = 16;
/// How a body in chunks ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// How the body of an answer is framed by the replica, and how much of it has passed
/// (RFC 9112, section 6).
#[derive(Debug)]
pub(super) enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// Passed on in chunks of our own, so that nobody reads the replica's in another way.
    Chunked(Chunks),
    /// Until the replica closes; the caller gets it in chunks. So many bytes have passed.
    UntilClose(u64),
}

/// The replica's framing makes no sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What became of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// All of them were the body's, and more will come.
    All,
    /// The body ended with this many of them.
    End(usize),
}

impl Framing {
    /// Whether the caller gets the body in chunks.
    pub(super) fn is_in_chunks(&self) -> bool {
        !matches!(self, Self::Length(_))
    }

    /// Whether the body has had more bytes than this, or is about to.
    pub(super) fn is_over(&self, limit: u64) -> bool {
        let bytes = match self {
            Self::Length(left) => *left,
            Self::Chunked(chunks) => chunks.passed,
            Self::UntilClose(passed) => *passed,
        };
        bytes > limit
    }

    /// Bytes of the body that have passed; `whole` are those that a body of known length has.
    pub(super) fn passed(&self, whole: u64) -> u64 {
        match self {
            Self::Length(left) => whole - left,
            Self::Chunked(chunks) => chunks.passed,
            Self::UntilClose(passed) => *passed,
        }
    }

    /// Writes what `bytes` have of the body as the caller gets it.
    pub(super) fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Passed, Malformed> {
        match self {
            Self::Length(left) => {
                let now = usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                out.put_slice(&bytes[..now]);
                *left -= now as u64;
                Ok(if *left == 0 {
                    Passed::End(now)
                } else {
                    Passed::All
                })
            }
            Self::Chunked(chunks) => chunks.pass(bytes, out),
            Self::UntilClose(passed) => {
                put_chunk(bytes, out);
                *passed += bytes.len() as u64;
                Ok(Passed::All)
            }
        }
    }

    /// The replica has closed: whether the body may end so.
    pub(super) fn close(&self, out: &mut Vec<u8>) -> bool {
        let may = matches!(self, Self::UntilClose(_));
        if may {
            out.put_slice(LAST_CHUNK);
        }
        may
    }
}

fn put_chunk(data: &[u8], out: &mut Vec<u8>) {
    // An empty chunk would be the last.
    if !data.is_empty() {
        out.put_slice(format!("{:X}\r\n", data.len()).as_bytes());
        out.put_slice(data);
        out.put_slice(b"\r\n");
    }
}

/// Reads a body in chunks, however it is cut into pieces (RFC 9112, section 7.1).
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    ignored: usize,
    /// Bytes of the body so far.
    passed: u64,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// In the size of a chunk: its value so far, and its digits.
    Size(u64, u32),
    /// Between the size and the end of its line.
    Extension(u64),
    /// At the LF of the line with the size.
    SizeEnd(u64),
    /// In a chunk, with so many bytes to come.
    Data(u64),
    DataCr,
    DataLf,
    /// At the beginning of a line after the last chunk.
    Trailer,
    InTrailer,
    LastLf,
}

impl Default for At {
    fn default() -> Self {
        Self::Size(0, 0)
    }
}

impl Chunks {
    fn pass(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<Passed, Malformed> {
        let mut used = 0;
        while used < bytes.len() {
            if let At::Data(left) = self.at {
                let rest = &bytes[used..];
                let now = usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                put_chunk(&rest[..now], out);
                used += now;
                self.passed += now as u64;
                self.at = match left - now as u64 {
                    0 => At::DataCr,
                    left => At::Data(left),
                };
                continue;
            }
            let byte = bytes[used];
            used += 1;
            if matches!(self.at, At::LastLf) && byte == b'\n' {
                out.put_slice(LAST_CHUNK);
                return Ok(Passed::End(used));
            }
            self.at = self.step(byte)?;
        }
        Ok(Passed::All)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        Ok(match (self.at, byte) {
            (At::Size(_, 0), b'\r' | b';' | b' ' | b'\t') => return Err(Malformed),
            (At::Size(size, _) | At::Extension(size), b'\r') => At::SizeEnd(size),
            (At::Size(size, _), b';' | b' ' | b'\t') => At::Extension(size),
            (At::Size(size, digits), _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Malformed)?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(Malformed);
                }
                At::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (At::SizeEnd(0), b'\n') => At::Trailer,
            (At::SizeEnd(size), b'\n') => At::Data(size),
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => At::Size(0, 0),
            (At::Trailer, b'\r') => At::LastLf,
            (At::InTrailer, b'\n') => At::Trailer,
            (At::Extension(_), b'\n') => return Err(Malformed),
            (At::Extension(size), _) => self.ignore(At::Extension(size))?,
            (At::Trailer | At::InTrailer, _) => self.ignore(At::InTrailer)?,
            _ => return Err(Malformed),
        })
    }

    fn ignore(&mut self, at: At) -> Result<At, Malformed> {
        self.ignored += 1;
        (self.ignored <= IGNORED_MAX).then_some(at).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// The body as the caller gets it, and the bytes left over, with the input cut at `cut`.
    fn chunked(bytes: &[u8], cut: usize) -> Result<(Vec<u8>, usize), Malformed> {
        let mut framing = Framing::Chunked(Chunks::default());
        let mut out = Vec::new();
        let (one, two) = bytes.split_at(cut);
        if let Passed::End(used) = framing.pass(one, &mut out)? {
            return Ok((out, bytes.len() - used));
        }
        match framing.pass(two, &mut out)? {
            Passed::End(used) => Ok((out, two.len() - used)),
            Passed::All => Err(Malformed),
        }
    }

    #[test]
    fn chunks_are_read_however_they_are_cut() {
        let body = b"5;x=\"y\"\r\nhello\r\n0006 \r\n world\r\n0\r\nX-Sum: 1\r\n\r\nmore";
        for cut in 0..body.len() {
            let (out, left) = chunked(body, cut).unwrap();
            let mut reader = Framing::Chunked(Chunks::default());
            let mut again = Vec::new();
            assert_eq!(reader.pass(&out, &mut again), Ok(Passed::End(out.len())));
            let data = String::from_utf8(out).unwrap();
            let letters: String = data
                .split("\r\n")
                .enumerate()
                .filter_map(|(index, line)| (index % 2 == 1).then_some(line))
                .collect();
            assert_eq!((letters.as_str(), left), ("hello world", 4), "{cut}");
        }
    }

    #[test]
    fn what_is_not_chunks_is_refused() {
        for bytes in [
            &b"\r\n"[..],
            b";\r\n",
            b" \r\n",
            b" 5\r\nhello\r\n0\r\n\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"0x5\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\r\nhello!\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"11112222333344445\r\n",
            b"5;x\nhello\r\n",
            b"0\r\n\rx",
        ] {
            let mut framing = Framing::Chunked(Chunks::default());
            let passed = framing.pass(bytes, &mut Vec::new());
            assert_eq!(passed, Err(Malformed), "{}", bytes.escape_ascii());
        }
        let endless = [&b"0\r\n"[..], &[b'x'; IGNORED_MAX + 1]].concat();
        assert_eq!(chunked(&endless, 0), Err(Malformed));
    }

    #[test]
    fn a_length_ends_where_it_says_and_a_close_ends_nothing_else() {
        let mut out = Vec::new();
        let mut framing = Framing::Length(5);
        assert_eq!(framing.pass(b"hel", &mut out), Ok(Passed::All));
        assert!(!framing.close(&mut out));
        assert_eq!(framing.pass(b"lo!", &mut out), Ok(Passed::End(2)));
        assert_eq!(out, b"hello");
        let mut out = Vec::new();
        let mut framing = Framing::UntilClose(0);
        assert_eq!(framing.pass(b"hi", &mut out), Ok(Passed::All));
        assert!(framing.close(&mut out));
        assert_eq!(out, b"2\r\nhi\r\n0\r\n\r\n");
    }

    #[test]
    fn only_the_bytes_of_the_body_count() {
        for (mut framing, bytes) in [
            (Framing::Length(5), &b"hello"[..]),
            (Framing::UntilClose(0), b"hello"),
            (
                Framing::Chunked(Chunks::default()),
                b"1;x=y\r\nh\r\n4\r\nello\r\n",
            ),
        ] {
            let declared = framing.is_over(4);
            framing.pass(bytes, &mut Vec::new()).unwrap();
            assert!(declared || framing.is_over(4), "{framing:?}");
            assert!(!framing.is_over(5), "{framing:?}");
        }
    }
}
