use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use hob_model::sandbox::{BASH, FILE, Language, SCRIPT};
use hob_sandbox::BOX;

use super::{config::LanguageSetting, order::file_name, version};

/// Where programs are looked for, on the host and in the sandbox.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A longer script than this, in bytes, does not go by an argument: the kernel takes up to 128 KiB.
const SCRIPT_MOST: usize = 120 << 10;

/// What is there without a word of the owner, if the host has its interpreter.
const BUILT_IN: [BuiltIn; 4] = [
    BuiltIn {
        name: BASH,
        aliases: &[],
        file: "main.sh",
        // The last one is `$0`, and what the shell calls itself in its complaints.
        run: &["/bin/bash", "-c", SCRIPT, "/bin/bash"],
        by_file: &["/bin/bash", FILE],
        version: &["/bin/bash", "--version"],
    },
    BuiltIn {
        name: "sh",
        aliases: &[],
        file: "main.sh",
        run: &["/bin/sh", "-c", SCRIPT, "/bin/sh"],
        by_file: &["/bin/sh", FILE],
        version: &[],
    },
    BuiltIn {
        name: "python",
        aliases: &["py", "python3"],
        file: "main.py",
        // Unbuffered, or what it printed before its deadline would be lost.
        run: &["python3", "-u", FILE],
        by_file: &[],
        version: &["python3", "--version"],
    },
    BuiltIn {
        name: "node",
        aliases: &["js", "javascript", "nodejs"],
        file: "main.js",
        run: &["node", FILE],
        by_file: &[],
        version: &["node", "--version"],
    },
];

struct BuiltIn {
    name: &'static str,
    aliases: &'static [&'static str],
    file: &'static str,
    run: &'static [&'static str],
    /// For scripts that cannot be an argument.
    by_file: &'static [&'static str],
    version: &'static [&'static str],
}

/// The languages of a pool.
#[derive(Debug)]
pub(super) struct Languages(Vec<Arc<Known>>);

/// One of them.
#[derive(Debug)]
pub(super) struct Known {
    language: Language,
    by_file: Option<Vec<String>>,
    /// Where the host has its interpreter.
    program: PathBuf,
    version_command: Vec<String>,
    version: OnceLock<String>,
}

/// A program that runs a script.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) argv: Vec<String>,
    /// Name of the file that has the script, if it is read from one.
    pub(super) file: Option<String>,
}

// === impl Languages ===

impl Languages {
    /// The built-in ones that the host has, and the owner's.
    ///
    /// # Errors
    /// When a setting makes no sense; names it.
    pub(super) fn new(settings: &[LanguageSetting]) -> Result<Self, String> {
        let mut known = Vec::new();
        for built_in in &BUILT_IN {
            let setting = settings.iter().find(|one| one.name == built_in.name);
            known.extend(Known::find(built_in.with(setting)));
        }
        let is_new = |one: &&LanguageSetting| BUILT_IN.iter().all(|old| old.name != one.name);
        for setting in settings.iter().filter(is_new) {
            let name = &setting.name;
            let draft = Draft::of(setting).ok_or_else(|| {
                format!("language `{name}` has no `run`: say which program runs its scripts")
            })?;
            let found = Known::find(draft);
            if found.is_none() {
                tracing::warn!(language = name, "its program is not on this machine");
            }
            known.extend(found);
        }
        let languages = Self(known.into_iter().map(Arc::new).collect());
        languages.check()?;
        Ok(languages)
    }

    fn check(&self) -> Result<(), String> {
        for known in &self.0 {
            let Language {
                name, run, file, ..
            } = &known.language;
            let uses = |word| run.iter().any(|part| part.contains(word));
            if !uses(FILE) && !uses(SCRIPT) {
                return Err(format!(
                    "language `{name}`: `run` has neither `{FILE}` nor `{SCRIPT}`: nobody would see the script"
                ));
            }
            file_name(file).map_err(|problem| format!("language `{name}`: file {problem}"))?;
        }
        Ok(())
    }

    /// The one that `name` means. Its own name counts before others' aliases.
    ///
    /// # Errors
    /// Names those that there are.
    pub(super) fn get(&self, name: &str) -> Result<&Known, String> {
        let all = || self.0.iter();
        let found = all().find(|known| known.language.name == name);
        let found = found.or_else(|| all().find(|known| known.language.is(name)));
        found.map(|known| &**known).ok_or_else(|| {
            let names: Vec<_> = all().map(|known| known.language.name.as_str()).collect();
            format!(
                "language `{name}` is unknown here: there are {}",
                names.join(", ")
            )
        })
    }

    /// As the port tells them.
    pub(super) fn list(&self) -> Vec<Language> {
        self.0.iter().map(|known| known.told()).collect()
    }

    /// Asks each for its version, in the background. Has to be called inside a tokio runtime.
    pub(super) fn ask_for_versions(&self) {
        for known in self
            .0
            .iter()
            .filter(|known| !known.version_command.is_empty())
        {
            let known = Arc::clone(known);
            tokio::spawn(async move {
                let found = version::ask(&known.version_command).await;
                // Nobody else sets it.
                let _ = known.version.set(found.unwrap_or_default());
            });
        }
    }
}

/// The built-in languages and the owner's, of which another machine knows whether it has them.
pub fn languages_elsewhere(settings: &[LanguageSetting]) -> Vec<Language> {
    let setting = |name| settings.iter().find(|one| one.name == name);
    let built_in = BUILT_IN.iter().map(|one| one.with(setting(one.name)));
    let is_new = |one: &&LanguageSetting| BUILT_IN.iter().all(|old| old.name != one.name);
    let new = settings.iter().filter(is_new).filter_map(Draft::of);
    built_in.chain(new).map(|draft| draft.language).collect()
}

// === impl Known ===

impl Known {
    fn find(draft: Draft) -> Option<Self> {
        let Draft {
            language,
            by_file,
            version,
        } = draft;
        let program = language.run.first()?;
        let path = which(program)?;
        Some(Self {
            language,
            by_file,
            program: path,
            version_command: version,
            version: OnceLock::new(),
        })
    }

    fn told(&self) -> Language {
        let mut language = self.language.clone();
        if let Some(version) = self.version.get() {
            language.version.clone_from(version);
        }
        language
    }

    /// What is to be run for `script` with these `args`.
    ///
    /// # Errors
    /// When the script cannot be an argument, and there is no other way.
    pub(super) fn command(&self, script: &[u8], args: &[String]) -> Result<Command, String> {
        let text = str::from_utf8(script).ok();
        let text = text.filter(|text| text.len() <= SCRIPT_MOST && !text.contains('\0'));
        let needs_text = self.language.run.iter().any(|part| part.contains(SCRIPT));
        let run = match (needs_text && text.is_none(), &self.by_file) {
            (false, _) => &self.language.run,
            (true, Some(by_file)) => by_file,
            (true, None) => {
                let name = &self.language.name;
                return Err(format!(
                    "the script goes to `{name}` as an argument: it has to be UTF-8 without NUL, up to {} KiB",
                    SCRIPT_MOST >> 10
                ));
            }
        };
        let file = &self.language.file;
        let path = format!("{BOX}/{file}");
        let uses_file = run.iter().any(|part| part.contains(FILE));
        let put_in = |part: &String| match part.as_str() {
            // The usual case, and a script may hold `{file}` itself.
            SCRIPT => text.unwrap_or_default().to_owned(),
            part if part.contains(SCRIPT) => part.replace(SCRIPT, text.unwrap_or_default()),
            part => part.replace(FILE, &path),
        };
        let mut argv: Vec<String> = run.iter().map(put_in).collect();
        if let Some(program) = argv.first_mut() {
            *program = self.program.to_string_lossy().into_owned();
        }
        argv.extend(args.iter().cloned());
        Ok(Command {
            argv,
            file: uses_file.then(|| file.clone()),
        })
    }
}

/// A language that may or may not be here.
struct Draft {
    language: Language,
    by_file: Option<Vec<String>>,
    version: Vec<String>,
}

impl Draft {
    fn of(setting: &LanguageSetting) -> Option<Self> {
        let name = setting.name.clone();
        Some(Self {
            language: Language {
                aliases: setting.aliases.clone().unwrap_or_default(),
                version: String::new(),
                file: setting.file.clone().unwrap_or_else(|| "main".into()),
                run: setting.run.clone()?,
                name,
            },
            by_file: None,
            version: setting.version.clone().unwrap_or_default(),
        })
    }
}

impl BuiltIn {
    fn with(&self, setting: Option<&LanguageSetting>) -> Draft {
        let words = |words: &[&str]| {
            words
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>()
        };
        let changed = setting.cloned().unwrap_or_default();
        let by_file = match (&changed.run, self.by_file) {
            (Some(_), _) | (None, []) => None,
            (None, by_file) => Some(words(by_file)),
        };
        let own_version = match changed.run {
            // It may be that of another program.
            Some(_) => Vec::new(),
            None => words(self.version),
        };
        Draft {
            language: Language {
                name: self.name.to_owned(),
                aliases: changed.aliases.unwrap_or_else(|| words(self.aliases)),
                version: String::new(),
                file: changed.file.unwrap_or_else(|| self.file.to_owned()),
                run: changed.run.unwrap_or_else(|| words(self.run)),
            },
            by_file,
            version: changed.version.unwrap_or(own_version),
        }
    }
}

/// Where a program is that can be run; without `/` it is looked up in [`PATH`].
pub(super) fn which(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(is_program);
    }
    let mut paths = PATH
        .split(':')
        .map(|folder| Path::new(folder).join(program));
    paths.find(is_program)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn setting(name: &str, run: &[&str]) -> LanguageSetting {
        LanguageSetting {
            name: name.into(),
            run: Some(run.iter().map(|&word| word.to_owned()).collect()),
            ..LanguageSetting::default()
        }
    }

    #[test]
    fn a_script_is_an_argument_where_it_can_be() {
        let languages = Languages::new(&[]).unwrap();
        let bash = languages.get("bash").unwrap();
        let short = bash.command(b"echo {file} $1", &["a".into()]).unwrap();
        assert_eq!(
            short.argv,
            ["/bin/bash", "-c", "echo {file} $1", "/bin/bash", "a"]
        );
        assert_eq!(short.file, None);
        for script in [
            vec![b'#'; SCRIPT_MOST + 1],
            b"echo \xff".to_vec(),
            b"\0".to_vec(),
        ] {
            let by_file = bash.command(&script, &["a".into()]).unwrap();
            assert_eq!(by_file.argv, ["/bin/bash", "/box/main.sh", "a"]);
            assert_eq!(by_file.file.as_deref(), Some("main.sh"));
        }
    }

    #[test]
    fn the_owner_adds_languages_and_changes_those_that_there_are() {
        let awk = setting("awk", &["awk", "-f", "{file}"]);
        let mut sh = setting("sh", &["/bin/sh", "-e", "{file}"]);
        sh.aliases = Some(vec!["shell".into()]);
        let languages = Languages::new(&[awk, sh]).unwrap();
        let shell = languages.get("shell").unwrap().command(b"x", &[]).unwrap();
        assert_eq!(shell.argv, ["/bin/sh", "-e", "/box/main.sh"]);
        let awk = languages.get("awk").unwrap().command(b"x", &[]).unwrap();
        assert!(awk.argv[0].ends_with("/awk"));
        assert_eq!(awk.argv[1..], ["-f", "/box/main"]);
        let words = languages.get("cobol").unwrap_err();
        assert!(
            words.contains("`cobol`") && words.contains("bash"),
            "{words}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let no_run = LanguageSetting {
            name: "x".into(),
            ..LanguageSetting::default()
        };
        let blind = setting("x", &["/bin/sh"]);
        let mut outside = setting("x", &["/bin/sh", "{file}"]);
        outside.file = Some("../x".into());
        for wrong in [no_run, blind, outside] {
            let words = Languages::new(&[wrong]).unwrap_err();
            assert!(words.contains("language `x`"), "{words}");
        }
        // Its program is nowhere, so that it is no language.
        let missing = Languages::new(&[setting("x", &["no-such-program", "{file}"])]);
        assert!(missing.unwrap().get("x").is_err());
    }
}
