//! Runs the tools of a build, each in a cage, and passes on what they say.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use hob_model::{
    EndReason, FunctionName, Isolation,
    port::{BuildError, BuildLine, BuildLog},
};
use hob_sandbox::{
    Access, Bind, CageLimits, CageNetwork, CageRoot, CageSpec, CageUser, Mechanism, STOP_SIGNAL,
    Sandbox,
};

use super::{toolchain::Toolchain, workplace::Workplace};

/// Memory of a tool and all that it starts, in bytes; `/tmp` counts.
pub(crate) const BUILD_MEMORY: u64 = 2 << 30;
/// Size of a tool's private `/tmp`, in bytes.
pub(crate) const BUILD_TMP: u64 = 1 << 30;
/// Processes and threads of a tool.
pub(crate) const BUILD_PIDS: u32 = 1024;
/// Open files of each process of a tool.
pub(crate) const BUILD_FILES: u32 = 16_384;
/// How long all tools of one build may take together.
pub(crate) const BUILD_TIME: Duration = Duration::from_secs(15 * 60);
/// Bytes of one line that are passed on; the rest of it is dropped.
const MAX_LINE: u64 = 4 << 10;
/// Lines of one tool that are passed on; the rest is dropped, apart from the last words.
const MAX_LINES: usize = 20_000;
/// Lines that may tell why a tool failed.
const LAST_WORDS: usize = 20;

/// Where tools see the function, where they have a root of their own.
const FUNCTION_INSIDE: &str = "/build";
/// Where they see the owner's settings.
const SETTINGS_INSIDE: &str = "/run/settings";

/// Numbers the cages of all builds of this process.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// What one build runs its tools with.
#[derive(Clone)]
pub(crate) struct Workbench<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) function: &'a FunctionName,
    pub(crate) isolation: Isolation,
    pub(crate) toolchain: &'a Toolchain,
    pub(crate) place: &'a Workplace,
    /// Folders that tools may write besides the function's own.
    pub(crate) caches: Vec<PathBuf>,
    /// A folder right inside the function's that tools can neither write nor replace, where they
    /// have a root of their own.
    pub(crate) sealed: Option<String>,
    /// The function's own environment, from hob.toml.
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) deadline: Instant,
    pub(crate) log: &'a BuildLog,
}

// === impl Workbench ===

impl Workbench<'_> {
    /// Runs `script` with `/bin/sh -e` in the function's folder. `doing` names it in errors.
    pub(crate) fn run(&self, doing: &str, script: &str) -> Result<(), BuildError> {
        self.exec(
            doing,
            vec!["/bin/sh".into(), "-ec".into(), script.to_owned()],
        )
    }

    /// Runs one program in the function's folder.
    pub(crate) fn exec(&self, doing: &str, argv: Vec<String>) -> Result<(), BuildError> {
        let host = |error: &dyn std::fmt::Display| BuildError::Host(format!("{doing}: {error}"));
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|error| host(&error))?;
        let spec = self
            .spec(argv, File::from(writer))
            .map_err(|error| host(&error))?;
        let cage = self.sandbox.spawn(spec).map_err(|error| host(&error))?;
        let log = BuildLog::clone(self.log);
        let listener = thread::spawn(move || listen(File::from(reader), &log));
        let left = self.deadline.saturating_duration_since(Instant::now());
        let end = cage.wait_timeout(left);
        // Ends whatever the tool left behind, so that the pipe closes.
        cage.kill();
        drop(cage);
        let last_words = listener.join().unwrap_or_default();
        match end.map_err(|error| host(&error))? {
            Some(end) if end.reason == EndReason::Ok => Ok(()),
            Some(end) => Err(BuildError::Failed(describe(
                doing,
                &end.message,
                &last_words,
            ))),
            None => Err(BuildError::Failed(format!(
                "{doing}: took too long and was stopped"
            ))),
        }
    }

    fn spec(&self, argv: Vec<String>, output: File) -> std::io::Result<CageSpec> {
        let own_root = self.isolation != Isolation::Process;
        let function = self.place.function();
        let inside = |path: &str, host: PathBuf| if own_root { PathBuf::from(path) } else { host };
        let cwd = inside(FUNCTION_INSIDE, function.clone());
        let settings = inside(SETTINGS_INSIDE, self.place.settings());
        let home = inside("/tmp", self.place.scratch())
            .to_string_lossy()
            .into_owned();
        let mut env = self.toolchain.env.clone();
        env.extend(self.env.clone());
        env.extend(self.toolchain.lend_settings(self.place, &settings)?);
        env.insert("HOME".into(), home.clone());
        env.insert("TMPDIR".into(), home);
        env.insert("PATH".into(), self.toolchain.path_variable());
        let sealed = self.sealed.iter().filter(|_| own_root);
        let sealed = sealed
            .map(|folder| bind(function.join(folder), cwd.join(folder), Access::ReadOnly))
            .collect::<Vec<_>>();
        let mut binds = vec![
            bind(function, cwd.clone(), Access::ReadWrite),
            bind(self.place.settings(), settings, Access::ReadOnly),
        ];
        binds.extend(sealed);
        if !own_root {
            binds.push(bind(
                self.place.scratch(),
                self.place.scratch(),
                Access::ReadWrite,
            ));
        }
        let same = |path: &PathBuf, access| bind(path.clone(), path.clone(), access);
        binds.extend(
            self.toolchain
                .folders
                .iter()
                .map(|path| same(path, Access::ReadOnly)),
        );
        binds.extend(self.caches.iter().map(|path| same(path, Access::ReadWrite)));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(CageSpec {
            id: format!("build-{number}-{}", std::process::id()),
            isolation: self.isolation,
            mechanism: Mechanism::Native,
            argv,
            env: env.into_iter().collect(),
            cwd,
            hostname: "build".into(),
            root: CageRoot::Host,
            network: CageNetwork::Host,
            files: Vec::new(),
            binds,
            limits: limits(),
            output,
            user: CageUser::Unprivileged,
            stop_signal: STOP_SIGNAL,
        })
    }
}

fn bind(source: impl AsRef<Path>, target: impl Into<PathBuf>, access: Access) -> Bind {
    Bind {
        source: source.as_ref().to_path_buf(),
        target: target.into(),
        access,
    }
}

fn limits() -> CageLimits {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    CageLimits {
        memory: BUILD_MEMORY,
        cpu_millis: u32::try_from(cores).unwrap_or(1).saturating_mul(1000),
        pids: BUILD_PIDS,
        tmp: BUILD_TMP,
        files: BUILD_FILES,
    }
}

fn describe(doing: &str, end: &str, last_words: &[String]) -> String {
    match last_words.iter().rev().find(|line| !line.trim().is_empty()) {
        Some(line) => format!("{doing} failed, {end}: {}", line.trim()),
        None => format!("{doing} failed, {end}"),
    }
}

/// Passes on line by line; returns the last ones.
pub(crate) fn listen(pipe: File, log: &BuildLog) -> Vec<String> {
    let mut reader = BufReader::new(pipe);
    let mut last = VecDeque::new();
    let mut count = 0;
    while let Ok(Some(line)) = next_line(&mut reader) {
        count += 1;
        if last.len() == LAST_WORDS {
            last.pop_front();
        }
        last.push_back(line.clone());
        match count {
            ..=MAX_LINES => log(BuildLine::Output(line)),
            _ if count == MAX_LINES + 1 => log(BuildLine::Output("… and more".into())),
            _ => {}
        }
    }
    last.into()
}

/// The next line without its end and without colours; what is not UTF-8 is replaced.
fn next_line(reader: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader
        .by_ref()
        .take(MAX_LINE)
        .read_until(b'\n', &mut bytes)?
        == 0
    {
        return Ok(None);
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    } else {
        skip_line(reader)?;
    }
    let text = String::from_utf8_lossy(&bytes);
    // Of a progress bar that redraws itself, only the last state says something.
    let text = text
        .trim_end_matches('\r')
        .rsplit('\r')
        .next()
        .unwrap_or_default();
    Ok(Some(without_colours(text)))
}

fn skip_line(reader: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let chunk = reader.fill_buf()?;
        if chunk.is_empty() {
            return Ok(());
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(chunk.len(), |at| at + 1);
        reader.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// Drops ANSI escape sequences and other control characters.
fn without_colours(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            if characters.next() == Some('[') {
                // Ends with the first letter or sign from @ to ~.
                let _ = characters.find(|c| ('@'..='~').contains(c));
            }
        } else if !character.is_control() || character == '\t' {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_plain_text() {
        let long = "y".repeat(10_000);
        let raw = format!("\x1b[1;31merror\x1b[0m: no\n10%\r20%\r\n{long}\nlast \u{7}word");
        let mut reader = BufReader::new(raw.as_bytes());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut reader).expect("reads") {
            lines.push(line);
        }
        assert_eq!(lines[..2], ["error: no", "20%"]);
        assert_eq!(lines[2].len() as u64, MAX_LINE);
        assert_eq!(lines[3], "last word");
    }
}
