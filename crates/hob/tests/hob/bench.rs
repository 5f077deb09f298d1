//! The few words that all tests here are written in.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use hob_testkit::{Cli, Hob};
use tempfile::TempDir;

pub(crate) const HOB: &str = env!("CARGO_BIN_EXE_hob");

/// A running server and a folder to write functions in.
pub(crate) struct Bench {
    // Dropped in this order: the server must not see its tests' folder go first.
    pub(crate) hob: Hob,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(&[])
    }

    /// With arguments of `hob up`.
    pub(crate) fn with(args: &[&str]) -> Self {
        Self {
            hob: Hob::builder(HOB).args(args.iter().copied()).start(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// With this configuration file.
    pub(crate) fn configured(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        write(&file, config);
        Self {
            hob: Hob::builder(HOB)
                .args([OsStr::new("--config"), file.as_os_str()])
                .start(),
            folder,
        }
    }

    /// Writes a function of the language `python` whose handler has this body.
    pub(crate) fn python(&self, name: &str, body: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        write(&folder.join("handler.py"), &handler(body));
        folder
    }

    /// Writes a site of one page.
    pub(crate) fn site(&self, name: &str, page: &str) -> PathBuf {
        let folder = self.folder.path().join(name);
        write(&folder.join("index.html"), page);
        folder
    }

    /// Deploys a folder under its own name; returns what was printed.
    #[track_caller]
    pub(crate) fn deploy(&self, folder: &Path) -> String {
        let folder = folder.to_str().unwrap();
        self.hob.cli(["deploy", folder]).ok()
    }
}

pub(crate) fn handler(body: &str) -> String {
    format!("def handle(req):\n    {}\n", body.replace('\n', "\n    "))
}

pub(crate) fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// The command line with no server of the test's behind it.
pub(crate) fn hob<const N: usize>(args: [&str; N]) -> Cli {
    Cli::new(Path::new(HOB))
        .env("HOB_DATA", "/nonexistent/hob")
        .args(args)
}
