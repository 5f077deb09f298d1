//! Text on the wire, byte for byte as Go's `encoding/json` writes it (since 1.22, which has `\b`
//! and `\f`; before, they were `\u0008` and `\u000c`).

/// A character cut at the end of a chunk has at most so many bytes.
const TAIL_MAX: usize = 3;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// A stream of bytes as JSON texts, in which no character is cut in two.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// What may become a character with the next chunk.
    tail: Vec<u8>,
}

impl Text {
    /// Appends the text of `chunk` with its quotes, but for a character whose end is still to come.
    /// Appends nothing if that is all.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, chunk: &[u8]) {
        if self.tail.is_empty() {
            let (whole, tail) = chunk.split_at(whole(chunk));
            self.tail.extend_from_slice(tail);
            put_text(out, whole);
            return;
        }
        let mut joined = std::mem::take(&mut self.tail);
        joined.extend_from_slice(chunk);
        self.tail = joined.split_off(whole(&joined));
        put_text(out, &joined);
    }

    /// Appends what was left, which became nothing.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        put_text(out, &std::mem::take(&mut self.tail));
    }
}

/// How many bytes there are before a character that is cut at the end.
fn whole(bytes: &[u8]) -> usize {
    for length in 1..=TAIL_MAX.min(bytes.len()) {
        let start = bytes.len() - length;
        // Neither the middle of a character nor one by itself.
        if bytes[start] >= 0xc0 {
            let cut = str::from_utf8(&bytes[start..]).err();
            return match cut {
                Some(error) if error.error_len().is_none() => start,
                _ => bytes.len(),
            };
        }
        if bytes[start] < 0x80 {
            break;
        }
    }
    bytes.len()
}

fn put_text(out: &mut Vec<u8>, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_json(out, bytes);
    }
}

/// Appends `bytes` as a JSON text with its quotes. Each byte that is no UTF-8 becomes U+FFFD.
pub(super) fn put_json(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for chunk in bytes.utf8_chunks() {
        put_escaped(out, chunk.valid());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn put_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut start = 0;
    let mut at = 0;
    while at < bytes.len() {
        let length = match bytes[at] {
            b'"' | b'\\' | b'<' | b'>' | b'&' | 0..0x20 => 1,
            // The separators of lines and paragraphs end a line of JavaScript.
            0xe2 if matches!(bytes[at..], [0xe2, 0x80, 0xa8 | 0xa9, ..]) => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        out.extend_from_slice(&bytes[start..at]);
        put_escape(out, &bytes[at..at + length]);
        at += length;
        start = at;
    }
    out.extend_from_slice(&bytes[start..]);
}

fn put_escape(out: &mut Vec<u8>, character: &[u8]) {
    let short = match character {
        [byte @ (b'"' | b'\\')] => *byte,
        [b'\n'] => b'n',
        [b'\r'] => b'r',
        [b'\t'] => b't',
        [0x08] => b'b',
        [0x0c] => b'f',
        [byte] => {
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
            return;
        }
        [.., last] => {
            out.extend_from_slice(b"\\u202");
            out.push(HEX[usize::from(last & 0xf)]);
            return;
        }
        [] => return,
    };
    out.extend_from_slice(&[b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        put_json(&mut out, bytes);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn texts_are_escaped_as_go_does_it() {
        for (bytes, expected) in [
            (&b"a<b>&c"[..], r#""a\u003cb\u003e\u0026c""#),
            (b"\"\\/", r#""\"\\/""#),
            (b"\n\r\t\x08\x0c", r#""\n\r\t\b\f""#),
            (b"\x00\x1b\x1f\x7f", "\"\\u0000\\u001b\\u001f\x7f\""),
            (
                "\u{2028}\u{2029}\u{202a}".as_bytes(),
                "\"\\u2028\\u2029\u{202a}\"",
            ),
            ("grün 🦀\u{fffd}".as_bytes(), "\"grün 🦀\u{fffd}\""),
            (b"\xff\xc3(\xe2\x82", r#""\ufffd\ufffd(\ufffd\ufffd""#),
            (b"\xf0\x80\x80\x80", r#""\ufffd\ufffd\ufffd\ufffd""#),
            (b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#),
            (b"", r#""""#),
        ] {
            assert_eq!(json(bytes), expected);
        }
    }

    #[test]
    fn whatever_is_written_can_be_read_again() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes.extend("ä€🦀\u{2028}".as_bytes());
        // A generator of numbers that is good enough to mix them up.
        let mut state = 7_u64;
        for _ in 0..2_000 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let length = (state >> 60) as usize;
            let at = (state >> 33) as usize % bytes.len();
            let some = &bytes[at..(at + length).min(bytes.len())];
            let read: String = serde_json::from_str(&json(some)).expect("JSON");
            assert_eq!(read.replace('\u{fffd}', ""), lossy(some));
            let cut = (state >> 20) as usize % bytes.len();
            bytes.swap(at, cut);
        }
    }

    fn lossy(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).replace('\u{fffd}', "")
    }

    #[test]
    fn a_character_that_is_cut_waits_for_its_rest() {
        let whole = "aä€🦀z".as_bytes();
        for size in 1..=whole.len() {
            let (mut text, mut said) = (Text::default(), String::new());
            for chunk in whole.chunks(size) {
                let mut out = Vec::new();
                text.put(&mut out, chunk);
                if !out.is_empty() {
                    said += &serde_json::from_slice::<String>(&out).expect("JSON");
                }
            }
            assert_eq!(said.as_bytes(), whole, "in chunks of {size}");
            assert!(text.tail.is_empty());
        }
        let mut text = Text::default();
        let mut out = Vec::new();
        text.put(&mut out, b"\xf0\x9f\xa6");
        assert!(out.is_empty() && !text.tail.is_empty());
        text.finish(&mut out);
        assert_eq!(out, br#""\ufffd\ufffd\ufffd""#);
        // What follows shows that it never was one.
        out.clear();
        text.put(&mut out, b"\xf0\x9f");
        text.put(&mut out, b"x");
        assert_eq!(out, br#""\ufffd\ufffdx""#);
    }
}
