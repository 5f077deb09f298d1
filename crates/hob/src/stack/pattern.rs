//! Patterns in which a star is any text.

/// A piece of a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// Any text, or none.
    Text,
    /// Any one character.
    One,
    /// This character.
    Only(char),
}

/// A pattern in which nothing but `*` means anything, as for `--filter`.
pub(super) fn wildcard(pattern: &str) -> Vec<Piece> {
    let piece = |c| match c {
        '*' => Piece::Text,
        other => Piece::Only(other),
    };
    pattern.chars().map(piece).collect()
}

/// A pattern as in `${NAME#pattern}`: `*`, `?`, and `\` before what is meant as it is. `None` for
/// one with a class such as `[a-z]`.
pub(super) fn shell(pattern: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Text,
            '?' => Piece::One,
            '[' => return None,
            '\\' => Piece::Only(chars.next()?),
            other => Piece::Only(other),
        });
    }
    Some(pieces)
}

/// Whether the pattern covers the whole of `text`.
pub(super) fn fits(pattern: &[Piece], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    covers(pattern, &text)
}

/// The same. Takes as many steps as pattern and text have characters, multiplied, at most.
pub(super) fn covers(pattern: &[Piece], text: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    // Where the last star was, and how much of the text it has taken.
    let mut star = None;
    while at < text.len() {
        match pattern.get(piece) {
            Some(Piece::Text) => {
                star = Some((piece, at));
                piece += 1;
                continue;
            }
            Some(Piece::One) => {}
            Some(Piece::Only(c)) if *c == text[at] => {}
            _ => {
                let Some((after, taken)) = star else {
                    return false;
                };
                star = Some((after, taken + 1));
                (piece, at) = (after + 1, taken + 1);
                continue;
            }
        }
        piece += 1;
        at += 1;
    }
    pattern[piece..].iter().all(|piece| *piece == Piece::Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_the_rest_is_itself() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*c", "abc", true),
            ("a*c", "ac", true),
            ("a*c", "abcd", false),
            ("*b*b*", "abab", true),
            ("*ab", "aab", true),
            ("a?c", "abc", false),
            ("aaa*aaa", "aaaaa", false),
        ] {
            assert_eq!(fits(&wildcard(pattern), text), expected, "{pattern} {text}");
        }
        let shell = shell("a?c*\\*").expect("no class");
        assert!(fits(&shell, "abcd*") && !fits(&shell, "abcd"));
        assert!(super::shell("[a-z]").is_none());
    }
}
