//! Which version a client means: ranges as npm reads them, since Piston does.

use std::cmp::Ordering;

/// Most bytes of a range that are read.
const RANGE_MAX: usize = 256;

/// Major, minor and patch.
type Version = [u64; 3];

/// A version of which the end may be left open: `3`, `3.x`, `3.11.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Partial {
    numbers: Version,
    /// How many of them are said.
    said: usize,
}

/// Whether `version` is one of `range`: `*`, `3`, `3.x`, `3.11.2`, `^3.10`, `~3.10.1`,
/// `>=3.0.0 <4`, `3.1 - 3.9`, and several of these with `||` between. What is no range has none.
pub(super) fn satisfies(version: &str, range: &str) -> bool {
    if range.len() > RANGE_MAX {
        return false;
    }
    let version = read(version);
    range
        .split("||")
        .any(|part| all(&version, part.trim()).unwrap_or(false))
}

/// As an interpreter tells it: what follows the numbers does not count.
pub(super) fn read(version: &str) -> Version {
    let mut numbers = [0; 3];
    for (number, text) in numbers.iter_mut().zip(version.split('.')) {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        match text[..digits].parse() {
            Ok(said) => *number = said,
            Err(_) => break,
        }
        if digits < text.len() {
            break;
        }
    }
    numbers
}

fn all(version: &Version, part: &str) -> Option<bool> {
    if let Some((from, to)) = part.split_once(" - ") {
        let (from, to) = (Partial::read(from.trim())?, Partial::read(to.trim())?);
        return Some(from.compare(version).is_ge() && to.compare(version).is_le());
    }
    let mut words = part.split_whitespace().peekable();
    let mut fits = true;
    while let Some(word) = words.next() {
        let digits = word.find(|c: char| !"<>=~^".contains(c));
        let (operator, mut rest) = word.split_at(digits.unwrap_or(word.len()));
        if rest.is_empty() {
            rest = words.next()?;
        }
        fits &= holds(version, operator, Partial::read(rest)?)?;
    }
    Some(fits)
}

fn holds(version: &Version, operator: &str, asked: Partial) -> Option<bool> {
    let order = asked.compare(version);
    let least = version.cmp(&asked.numbers).is_ge();
    Some(match operator {
        "" | "=" => order.is_eq(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => version < &asked.numbers,
        "<=" => order.is_le(),
        // The same up to what is said, but for the last number.
        "~" | "~>" => {
            let kept = asked.said.min(2);
            least && version[..kept] == asked.numbers[..kept]
        }
        // The same up to the first number that is not 0.
        "^" => {
            let first = asked.numbers[..asked.said].iter().position(|n| *n > 0);
            let kept = first.map_or(asked.said, |at| at + 1);
            least && version[..kept] == asked.numbers[..kept]
        }
        _ => return None,
    })
}

impl Partial {
    fn read(text: &str) -> Option<Self> {
        let text = text.strip_prefix(['v', 'V']).unwrap_or(text);
        // Of builds and of what comes before a release, interpreters say nothing.
        let text = text.split(['-', '+']).next()?;
        let mut partial = Self {
            numbers: [0; 3],
            said: 0,
        };
        let mut open = false;
        for (at, part) in text.split('.').enumerate() {
            let number = partial.numbers.get_mut(at)?;
            if ["x", "X", "*"].contains(&part) {
                open = true;
            } else {
                *number = part.parse().ok().filter(|_| !open)?;
                partial.said += 1;
            }
        }
        Some(partial)
    }

    /// How `version` stands to it, as far as it is said.
    fn compare(&self, version: &Version) -> Ordering {
        version[..self.said].cmp(&self.numbers[..self.said])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_npm_does() {
        for (range, fits) in [
            ("*", true),
            ("", true),
            ("x", true),
            ("3", true),
            ("3.x", true),
            ("3.11.x", true),
            ("3.11", true),
            ("3.11.2", true),
            ("=3.11.2", true),
            ("v3.11.2", true),
            ("3.11.1", false),
            ("3.10", false),
            ("2.x", false),
            ("^3.10.0", true),
            ("^3.12", false),
            ("^2", false),
            ("~3.11.0", true),
            ("~3.10.0", false),
            ("~3", true),
            (">=3.0.0 <4", true),
            (">= 3.0.0", true),
            (">3.11", false),
            (">3.10", true),
            ("<3.11", false),
            ("<=3.11", true),
            ("<=3.11.1", false),
            ("3.0 - 3.11", true),
            ("3.0 - 3.10", false),
            ("2.x || 3.x", true),
            ("1 || 2", false),
            ("latest", false),
            ("3.11.2.1", false),
            ("3.x.1", false),
            ("!3", false),
            (">", false),
        ] {
            assert_eq!(satisfies("3.11.2", range), fits, "{range}");
        }
        assert!(!satisfies("0.3.1", "^0.2"));
        assert!(satisfies("0.2.9", "^0.2.1"));
    }

    #[test]
    fn versions_are_as_interpreters_tell_them() {
        assert_eq!(read("5.2.15(1)-release"), [5, 2, 15]);
        assert_eq!(read("20.1"), [20, 1, 0]);
        assert_eq!(read("3.13.0rc1"), [3, 13, 0]);
        assert_eq!(read(""), [0, 0, 0]);
    }
}
