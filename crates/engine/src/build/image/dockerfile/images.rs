//! Which images of elsewhere a Dockerfile needs.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What is known of a Dockerfile from top to line.
struct Reading<'a> {
    given: &'a BTreeMap<String, String>,
    /// `ARG`s before the first stage, the only ones that count in `FROM`.
    args: BTreeMap<String, String>,
    stages: HashSet<String>,
    begun: bool,
    images: BTreeSet<String>,
}

/// The images after `FROM` and `COPY --from`, but for stages of the file itself, `scratch`, and
/// those whose name has a variable without a value.
pub(super) fn of(text: &str, given: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut reading = Reading {
        given,
        args: BTreeMap::new(),
        stages: HashSet::new(),
        begun: false,
        images: BTreeSet::new(),
    };
    let text = text.replace("\r\n", "\n").replace("\\\n", " ");
    for line in text.lines() {
        reading.line(line);
    }
    reading.images
}

// === impl Reading ===

impl Reading<'_> {
    fn line(&mut self, line: &str) {
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "ARG" if !self.begun => words.for_each(|word| self.arg(word)),
            "FROM" => self.from(words),
            "COPY" => {
                let from = words.find_map(|word| word.strip_prefix("--from="));
                if let Some(name) = from {
                    self.image(name);
                }
            }
            _ => {}
        }
    }

    fn arg(&mut self, word: &str) {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.trim_matches(['"', '\'']))),
            None => (word, None),
        };
        let given = self.given.get(name).cloned();
        if let Some(value) = given.or_else(|| self.expand(value?)) {
            self.args.insert(name.to_owned(), value);
        }
    }

    fn from<'b>(&mut self, words: impl Iterator<Item = &'b str>) {
        self.begun = true;
        let mut words = words.filter(|word| !word.starts_with("--"));
        if let Some(name) = words.next() {
            self.image(name);
        }
        if words
            .next()
            .is_some_and(|word| word.eq_ignore_ascii_case("as"))
        {
            self.stages.extend(words.next().map(str::to_lowercase));
        }
    }

    fn image(&mut self, name: &str) {
        let Some(name) = self.expand(name) else {
            return;
        };
        let is_stage = self.stages.contains(&name.to_lowercase());
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        if name != "scratch" && !is_stage && !is_number {
            self.images.insert(name);
        }
    }

    /// Puts values in place of `$NAME`, `${NAME}`, `${NAME:-else}` and `${NAME:+then}`.
    fn expand(&self, text: &str) -> Option<String> {
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            plain.push_str(before);
            if let Some(braced) = after.strip_prefix('{') {
                let (inside, after) = braced.split_once('}')?;
                plain.push_str(&self.value(inside)?);
                rest = after;
            } else {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                plain.push_str(&self.value(&after[..end])?);
                rest = &after[end..];
            }
        }
        plain.push_str(rest);
        Some(plain)
    }

    fn value(&self, inside: &str) -> Option<String> {
        let known = |name: &str| self.args.get(name).filter(|value| !value.is_empty());
        if let Some((name, other)) = inside.split_once(":-") {
            return Some(known(name).map_or(other, String::as_str).to_owned());
        }
        if let Some((name, then)) = inside.split_once(":+") {
            return Some(known(name).map_or("", |_| then).to_owned());
        }
        self.args.get(inside).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(text: &str, given: &[(&str, &str)]) -> Vec<String> {
        let given = given.iter().map(|(name, value)| (*name, *value));
        let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
        of(text, &given.collect()).into_iter().collect()
    }

    #[test]
    fn only_images_of_elsewhere_are_fetched() {
        let text = "ARG V\nFROM --platform=$BUILDPLATFORM golang:1 AS Build\nfrom build\n\
            FROM scratch\nFROM base:$V\nFROM debian:12\nRUN echo FROM x\n\
            COPY --from=build /a /b\nCOPY --chown=1 --from=tools:2 /a /b\nCOPY --from=0 /a /b\n";
        assert_eq!(images(text, &[]), ["debian:12", "golang:1", "tools:2"]);
    }

    #[test]
    fn values_come_from_the_file_unless_they_are_given() {
        let text = "ARG V=3.12 X=\"y\"\nARG W=${V}-slim\nFROM \\\n  python:${V}-alpine\n\
            ARG V=9\nFROM node:$W\nFROM ${BASE:-here:1}\nFROM a:1${X:+-x}\n";
        let plain = ["a:1-x", "here:1", "node:3.12-slim", "python:3.12-alpine"];
        assert_eq!(images(text, &[]), plain);
        let given = images(text, &[("V", "3.13"), ("BASE", "there:1"), ("X", "")]);
        // What no ARG declares has no value.
        assert_eq!(
            given,
            ["a:1", "here:1", "node:3.13-slim", "python:3.13-alpine"]
        );
    }
}
