use std::{
    ffi::OsStr,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::net::Net;

/// One run of the executable, about to start.
#[derive(Debug)]
pub struct Cli {
    command: Command,
    stdin: Vec<u8>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said besides.
    pub stderr: String,
}

// === impl Cli ===

impl Cli {
    /// A run of `executable` in a clean environment: nothing of hob's is set.
    pub fn new(executable: &Path) -> Self {
        Self::of(Command::new(executable))
    }

    /// The same, inside of a network.
    pub fn inside(net: &Net, executable: &Path) -> Self {
        Self::of(net.command(&executable.to_string_lossy()))
    }

    fn of(mut command: Command) -> Self {
        forget_settings(&mut command);
        // The machine's own configuration is none of a test's business.
        command.env("HOB_CONFIG", "/dev/null");
        // Nor are the servers that its user has logged in to.
        command.env("XDG_CONFIG_HOME", "/dev/null");
        Self {
            command,
            stdin: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs in this folder.
    #[must_use]
    pub fn dir(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Gives these bytes on standard input; else it is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn run(self) -> Outcome {
        let Self { mut command, stdin } = self;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("the executable starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        // Besides, so that neither side waits for the other with a full pipe.
        let writer = thread::spawn(move || {
            // A program that ended without reading it all has its reasons.
            let _ = pipe.write_all(&stdin);
        });
        let output = child.wait_with_output().expect("it can be waited for");
        writer.join().expect("the writer ends");
        Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Gives the command away, for tests that talk to it while it runs.
    pub fn into_command(self) -> Command {
        self.command
    }
}

/// Takes every `HOB_…` out of what the command inherits.
pub(crate) fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"HOB_") {
            command.env_remove(name);
        }
    }
}

// === impl Outcome ===

impl Outcome {
    /// Asserts that it went well; returns what it printed.
    ///
    /// # Panics
    /// When the exit code is not 0.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Asserts that it failed with this code and one line of error; returns that line.
    ///
    /// # Panics
    /// When the exit code is another one, or there is no such line.
    #[track_caller]
    pub fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        let mut lines = self.stderr.lines();
        let line = lines.rfind(|line| line.starts_with("error: "));
        line.unwrap_or_else(|| panic!("no error line: {self:?}"))
            .to_owned()
    }

    /// The output as JSON.
    ///
    /// # Panics
    /// When the exit code is not 0 or the output is no JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}
