use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{form::Form, stop::Stop};

/// What a run is about.
#[derive(Debug)]
pub struct Run {
    /// The executable.
    pub hob: PathBuf,
    /// Where results go; made if it is not there.
    pub out: PathBuf,
    /// How much of everything.
    pub form: Form,
    /// What the kills are drawn from: the same seed picks the same ones.
    pub seed: u64,
    /// Ends it early.
    pub stop: Stop,
}

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// The table, as it was printed.
    pub table: String,
    /// One line for each bar that was missed.
    pub missed: Vec<String>,
}

impl Run {
    /// Says where the run stands, on standard error.
    pub(crate) fn tell(&self, what: &str) {
        // Straight to the terminal, also where the test runner holds output back; a reader that
        // went away is no reason to end.
        let _ = writeln!(std::io::stderr(), "soak: {what}");
    }

    /// Keeps `table` and `data` as `NAME.txt` and `NAME.json`; returns the folder.
    pub(crate) fn keep(&self, name: &str, table: &str, data: &impl Serialize) -> Result<()> {
        self.keep_file(&format!("{name}.txt"), table)?;
        let json = serde_json::to_string_pretty(data)?;
        self.keep_file(&format!("{name}.json"), &format!("{json}\n"))
    }

    /// Keeps a file with the other results.
    pub(crate) fn keep_file(&self, name: &str, text: &str) -> Result<()> {
        let folder = self.folder();
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| path.display().to_string())
    }

    /// Where the results of this form are.
    pub fn folder(&self) -> PathBuf {
        self.out.join(self.form.name)
    }
}

/// Writes a file of a function, with the folders above it.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text).with_context(|| path.display().to_string())
}
