//! `${NAME}` in a text, in all the forms that `faas-cli` knows
//! (<https://github.com/drone/envsubst>).

use thiserror::Error;

use super::pattern;

/// Deepest nesting of `${A:-${B:-…}}`.
const DEEPEST: usize = 20;
/// Characters of a mistake that are shown.
const SHOWN: usize = 40;

/// Something that begins with `${` and goes on in no known way.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: `{shown}` {problem}: write `$${{` for a `${{` that is no variable")]
pub(super) struct SubstitutionError {
    line: usize,
    shown: String,
    problem: &'static str,
}

type Lookup<'a> = &'a dyn Fn(&str) -> String;
type Problem = &'static str;

/// Puts variables in their places; one that is not set is empty. `$$` is a dollar.
pub(super) fn substitute(text: &str, lookup: Lookup<'_>) -> Result<String, SubstitutionError> {
    let mut reader = Reader {
        text,
        at: 0,
        depth: 0,
        lookup,
    };
    let mut out = String::with_capacity(text.len());
    while let Some(c) = reader.peek() {
        let began = reader.at;
        if reader.takes("${") {
            let value = reader.variable().map_err(|problem| SubstitutionError {
                line: text[..began].matches('\n').count() + 1,
                shown: text[began..]
                    .lines()
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take(SHOWN)
                    .collect(),
                problem,
            });
            out.push_str(&value?);
        } else {
            out.push(reader.escaped().unwrap_or(c));
            reader.at += if reader.at == began { c.len_utf8() } else { 0 };
        }
    }
    Ok(out)
}

struct Reader<'a> {
    text: &'a str,
    /// How far it has been read, in bytes.
    at: usize,
    depth: usize,
    lookup: Lookup<'a>,
}

const OPEN: Problem = "is not closed";

// === impl Reader ===

impl Reader<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_next = self.rest().starts_with(word);
        self.at += if is_next { word.len() } else { 0 };
        is_next
    }

    /// A character that stands for itself by the one before it.
    fn escaped(&mut self) -> Option<char> {
        let escapes = [("$$", '$'), ("\\/", '/'), ("\\\\", '\\')];
        let mut found = escapes.into_iter();
        found.find_map(|(written, meant)| self.takes(written).then_some(meant))
    }

    /// What follows `${`, up to and with the brace that closes it.
    fn variable(&mut self) -> Result<String, Problem> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("is nested too deeply");
        }
        let value = if self.takes("#") {
            let value = self.value()?;
            value.len().to_string()
        } else {
            let value = self.value()?;
            self.changed(value)?
        };
        self.depth -= 1;
        if self.takes("}") {
            Ok(value)
        } else {
            Err(OPEN)
        }
    }

    fn value(&mut self) -> Result<String, Problem> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let rest = self.rest();
        let name = &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())];
        if name.is_empty() {
            return Err("has no name");
        }
        let value = (self.lookup)(name);
        self.at += name.len();
        Ok(value)
    }

    /// What becomes of a value by what stands behind its name.
    fn changed(&mut self, value: String) -> Result<String, Problem> {
        // They all are the default of a variable that is not set or empty.
        if [":-", ":=", ":?", ":+", "="]
            .into_iter()
            .any(|sign| self.takes(sign))
        {
            let default = self.word(&['}'])?;
            return Ok(if value.is_empty() { default } else { value });
        }
        for (sign, change) in CASES {
            if self.takes(sign) {
                return Ok(change(&value));
            }
        }
        for (sign, from, reach) in TRIMS {
            if self.takes(sign) {
                let pattern = self.word(&['}'])?;
                return trimmed(&value, &pattern, from, reach);
            }
        }
        for sign in ["//", "/#", "/%", "/"] {
            if self.takes(sign) {
                return self.replaced(&value, sign);
            }
        }
        if self.takes(":") {
            return self.part(&value);
        }
        Ok(value)
    }

    fn replaced(&mut self, value: &str, sign: &str) -> Result<String, Problem> {
        let old = self.escaped_word('/')?;
        if !self.takes("/") {
            return Err("names nothing in place of it");
        }
        let new = self.escaped_word('}')?;
        Ok(match sign {
            "//" => value.replace(&old, &new),
            "/#" => match value.strip_prefix(old.as_str()) {
                Some(rest) if !new.is_empty() => format!("{new}{rest}"),
                _ => value.to_owned(),
            },
            "/%" => match value.strip_suffix(old.as_str()) {
                Some(rest) if !new.is_empty() => format!("{rest}{new}"),
                _ => value.to_owned(),
            },
            _ => value.replacen(&old, &new, 1),
        })
    }

    fn part(&mut self, value: &str) -> Result<String, Problem> {
        let first = self.word(&[':', '}'])?;
        let length = if self.takes(":") {
            Some(self.word(&['}'])?)
        } else {
            None
        };
        let Ok(first) = first.parse::<i64>() else {
            return Ok(value.to_owned());
        };
        let bytes = value.len() as i64;
        let first = if first < 0 {
            (bytes + first).max(0)
        } else {
            first.min(bytes)
        };
        let end = match length.map(|length| length.parse::<i64>()) {
            None => bytes,
            Some(Ok(length)) => first.saturating_add(length).clamp(first, bytes),
            Some(Err(_)) => return Ok(value.to_owned()),
        };
        let part = &value.as_bytes()[first as usize..end as usize];
        Ok(String::from_utf8_lossy(part).into_owned())
    }

    /// The text up to one of these, in which variables may stand.
    fn word(&mut self, ends: &[char]) -> Result<String, Problem> {
        self.read_word(ends, false)
    }

    /// The same, and a backslash before a slash takes its meaning away.
    fn escaped_word(&mut self, end: char) -> Result<String, Problem> {
        self.read_word(&[end], true)
    }

    fn read_word(&mut self, ends: &[char], escapes: bool) -> Result<String, Problem> {
        let mut word = String::new();
        loop {
            let c = self.peek().ok_or(OPEN)?;
            if self.takes("${") {
                word.push_str(&self.variable()?);
            } else if let Some(meant) = escapes.then(|| self.escaped()).flatten() {
                word.push(meant);
            } else if ends.contains(&c) {
                return Ok(word);
            } else {
                word.push(c);
                self.at += c.len_utf8();
            }
        }
    }
}

type Change = fn(&str) -> String;

const CASES: [(&str, Change); 4] = [
    ("^^", |value| value.to_uppercase()),
    ("^", |value| first(value, |c| c.to_uppercase().collect())),
    (",,", |value| value.to_lowercase()),
    (",", |value| first(value, |c| c.to_lowercase().collect())),
];

fn first(value: &str, change: fn(char) -> String) -> String {
    let mut chars = value.chars();
    chars
        .next()
        .map_or_else(String::new, |c| change(c) + chars.as_str())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum From {
    Start,
    End,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Shortest,
    Longest,
}

const TRIMS: [(&str, From, Reach); 4] = [
    ("##", From::Start, Reach::Longest),
    ("#", From::Start, Reach::Shortest),
    ("%%", From::End, Reach::Longest),
    ("%", From::End, Reach::Shortest),
];

/// `value` without what the pattern covers at one of its ends.
fn trimmed(value: &str, pattern: &str, from: From, reach: Reach) -> Result<String, Problem> {
    let pattern =
        pattern::shell(pattern).ok_or("has a pattern with `[`, which is not known here")?;
    let chars: Vec<char> = value.chars().collect();
    let cut = |count: &usize| match from {
        From::Start => pattern::covers(&pattern, &chars[..*count]),
        From::End => pattern::covers(&pattern, &chars[chars.len() - count..]),
    };
    let mut counts = 1..=chars.len();
    let count = match reach {
        Reach::Shortest => counts.find(cut),
        Reach::Longest => counts.rev().find(cut),
    };
    let count = count.unwrap_or(0);
    Ok(match from {
        From::Start => chars[count..].iter().collect(),
        From::End => chars[..chars.len() - count].iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> String {
        match name {
            "NAME" => "Dracula",
            "TAG" => "v1.2.3",
            "PATHS" => "a/b/c",
            _ => "",
        }
        .to_owned()
    }

    #[test]
    fn every_form_means_what_it_means_to_faas_cli() {
        for (text, expected) in [
            ("no variables at all", "no variables at all"),
            ("x${NAME}y", "xDraculay"),
            ("${UNSET}", ""),
            ("$NAME stays", "$NAME stays"),
            ("$${NAME} and $$", "${NAME} and $"),
            (r"a\/b\\c\n", r"a/b\c\n"),
            ("${UNSET:-default}", "default"),
            ("${NAME:-default}", "Dracula"),
            ("${UNSET:=a b}${UNSET=c}${UNSET:?d}${UNSET:+e}", "a bcde"),
            ("${UNSET:-}", ""),
            ("${UNSET:-http://127.0.0.1:8080}", "http://127.0.0.1:8080"),
            ("${UNSET:-x${NAME}y${UNSET:-z}}", "xDraculayz"),
            ("${#NAME}", "7"),
            (
                "${NAME^^} ${NAME,,} ${NAME,} ${NAME^}",
                "DRACULA dracula dracula Dracula",
            ),
            (
                "${NAME:4} ${NAME:0:4} ${NAME:-3} ${NAME:99}.",
                "ula Drac Dracula .",
            ),
            ("${TAG#v} ${TAG#*.} ${TAG##*.}", "1.2.3 2.3 3"),
            ("${TAG%.*} ${TAG%%.*} ${TAG%x}", "v1.2 v1 v1.2.3"),
            ("${PATHS/\\//-}", "a-b/c"),
            (
                "${PATHS//b/x} ${PATHS/#a/x} ${PATHS/%c/x}",
                "a/x/c x/b/c a/b/x",
            ),
            ("ünï${UNSET:-cödé}", "ünïcödé"),
        ] {
            assert_eq!(substitute(text, &lookup).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_variable_is_named_with_its_line() {
        for (text, expected) in [
            ("a\nb ${NAME", "line 2: `${NAME` is not closed"),
            ("${}", "has no name"),
            ("${NAME-x}", "is not closed"),
            ("${UNSET:-x", "is not closed"),
            ("${TAG#[v]}", "a pattern with `[`"),
            (&"${A:-".repeat(30), "nested too deeply"),
        ] {
            let error = substitute(text, &lookup).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.contains("write `$${` for a `${`"), "{error}");
        }
    }
}
