use std::path::{Path, PathBuf};

use anyhow::Result;
use http::Method;

use crate::run::write;

/// A function that answers `NAME REVISION TOKEN`, where the token is that of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: &'static str,
    /// What it is written in.
    pub(super) language: Language,
    /// What it does besides.
    pub(super) habit: Habit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    Node,
    Go,
    Shell,
    /// A static site: it knows nothing of its caller, so its answers have no token.
    Site,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// Answers at once.
    None,
    /// Takes its time, so that there is always a call that a kill can hit.
    Slow,
    /// Sleeps soon after its last call.
    Sleepy,
    /// Writes a lot to its log with each call.
    Chatty,
}

/// Seconds that a slow function takes.
const SLOW: &str = "0.03";
/// Lines of 64 bytes that a chatty function writes with each call: 256 KiB.
const LINES: u32 = 4096;
/// When a sleepy function is frozen, as soon as can be set, and when it is stopped.
const SLEEPY: &str = "freeze = \"1s\"\nidle = \"2s\"\n";

impl Function {
    /// All that are called. The first build of a Go program takes half a minute.
    pub(super) fn all(slow_builds: bool) -> Vec<Self> {
        let function = |name, language, habit| Self {
            name,
            language,
            habit,
        };
        let mut all = vec![
            function("python", Language::Python, Habit::None),
            function("node", Language::Node, Habit::None),
            function("shell", Language::Shell, Habit::None),
            function("site", Language::Site, Habit::None),
            function("slow", Language::Python, Habit::Slow),
            function("sleepy", Language::Python, Habit::Sleepy),
            function("chatty", Language::Python, Habit::Chatty),
        ];
        if slow_builds {
            all.push(function("go", Language::Go, Habit::None));
        }
        all
    }

    /// Programs that its language needs.
    pub(super) fn needs(self) -> &'static [&'static str] {
        match self.language {
            Language::Python | Language::Shell => &["python3"],
            Language::Node => &["node"],
            Language::Go => &["go"],
            Language::Site => &[],
        }
    }

    /// Whether there are processes that can be killed.
    pub(super) fn has_replicas(self) -> bool {
        self.language != Language::Site
    }

    /// How its `number`-th call is made.
    pub(super) fn method(self, number: u64) -> Method {
        match self.language {
            Language::Site => Method::GET,
            _ if number.is_multiple_of(2) => Method::GET,
            _ => Method::POST,
        }
    }

    /// The path and query of its call with this token.
    pub(super) fn target(self, token: u64) -> String {
        match self.language {
            Language::Site => format!("/function/{}/", self.name),
            _ => format!("/function/{}?n={token}", self.name),
        }
    }

    /// Which revision a body names, if it is the answer to the call with this token and nothing
    /// else.
    pub(super) fn revision(self, token: u64, body: &str) -> Option<u32> {
        let rest = body.strip_prefix(self.name)?.strip_prefix(' ')?;
        let revision = match self.language {
            Language::Site => rest,
            _ => rest.strip_suffix(&format!(" n={token}"))?,
        };
        revision.parse().ok()
    }

    /// Writes its folder below `parent`, in which it answers as `revision`.
    pub(super) fn write(self, parent: &Path, revision: u32) -> Result<PathBuf> {
        let folder = parent.join(self.name);
        let said = format!("{} {revision}", self.name);
        let (file, text) = match self.language {
            Language::Python => ("handler.py", self.python(&said)),
            Language::Node => ("handler.js", node(&said)),
            Language::Go => ("handler.go", go(&said)),
            Language::Shell => ("handler.sh", shell(&said)),
            Language::Site => ("index.html", said),
        };
        write(&folder.join(file), &text)?;
        if self.habit == Habit::Sleepy {
            write(&folder.join("hob.toml"), SLEEPY)?;
        }
        Ok(folder)
    }

    fn python(self, said: &str) -> String {
        let habit = match self.habit {
            Habit::Slow => format!("time.sleep({SLOW})"),
            Habit::Chatty => format!("os.write(1, b'{}\\n' * {LINES})", "x".repeat(63)),
            Habit::None | Habit::Sleepy => "pass".to_owned(),
        };
        format!(
            "import os, time\n\ndef handle(req):\n    {habit}\n    \
             return f'{said} {{req.query_string}}'\n"
        )
    }
}

fn node(said: &str) -> String {
    format!("module.exports = async (req) => `{said} n=${{req.query.n}}`;\n")
}

fn go(said: &str) -> String {
    format!(
        "package function\n\nimport (\n\t\"fmt\"\n\t\"net/http\"\n)\n\n\
         func Handle(w http.ResponseWriter, r *http.Request) {{\n\
         \tfmt.Fprintf(w, \"{said} %s\", r.URL.RawQuery)\n}}\n"
    )
}

fn shell(said: &str) -> String {
    format!("#!/bin/sh\nprintf '{said} %s' \"$Http_Query\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_answer_to_this_very_call_names_a_revision() {
        let all = Function::all(true);
        let (python, site) = (all[0], all[3]);
        assert_eq!(python.revision(7, "python 12 n=7"), Some(12));
        for other in [
            "python 12 n=8",
            "python 12 n=",
            "python x n=7",
            "node 12 n=7",
            "python 12 n=7python 12 n=7",
            "",
        ] {
            assert_eq!(python.revision(7, other), None, "{other}");
        }
        assert_eq!(site.revision(7, "site 3"), Some(3));
        assert_eq!(site.revision(7, "site 3 "), None);
    }
}
