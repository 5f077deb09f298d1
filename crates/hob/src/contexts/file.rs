use std::{
    fs::{DirBuilder, File, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use super::Contexts;
use crate::{environment::Environment, exit::Failure};

/// Largest file that is read, in bytes.
const FILE_MAX: u64 = 4 << 20;
/// Passwords are in it.
const MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;
const OF_OTHERS: u32 = 0o077;
const WRITTEN_BY_OTHERS: u32 = 0o022;

/// Where the contexts of this user are kept.
#[derive(Debug)]
pub(crate) struct ContextsFile {
    path: PathBuf,
}

impl ContextsFile {
    /// `$XDG_CONFIG_HOME/hob/contexts.toml`; `None` when no home directory is known.
    pub(crate) fn find(env: &Environment) -> Option<Self> {
        let folder = env.xdg("XDG_CONFIG_HOME", ".config")?;
        Some(Self {
            path: folder.join("hob/contexts.toml"),
        })
    }

    /// The same, for those who cannot do without it.
    ///
    /// # Errors
    /// A usage failure with the cure.
    pub(crate) fn of(env: &Environment) -> anyhow::Result<Self> {
        Self::find(env).ok_or_else(|| {
            Failure::usage("no home directory is known: set HOME or XDG_CONFIG_HOME").into()
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it; nothing where there is no file. One that others can read is theirs no longer
    /// after this, and one that others can change is not believed.
    ///
    /// # Errors
    /// A failure that names the file and the cure.
    pub(crate) fn read(&self) -> anyhow::Result<Contexts> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if is_absence(&error) => return Ok(Contexts::default()),
            Err(error) => return Err(self.failed(error)),
        };
        self.check_owner(&file)?;
        let mut text = String::new();
        let read = file.take(FILE_MAX).read_to_string(&mut text);
        read.map_err(|error| self.failed(error))?;
        toml::from_str(&text).map_err(|error| {
            // The library would show the line, which may be the one with the password.
            let line = error.span().map_or(1, |span| {
                1 + text[..span.start.min(text.len())].matches('\n').count()
            });
            self.failed(format!(
                "line {line} makes no sense: mend it, or move the file away and log in anew"
            ))
        })
    }

    /// Reads it, changes what is in it and writes it, while no other hob does the same.
    ///
    /// # Errors
    /// What `change` fails with, or a failure that names the file; then it is as it was.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut Contexts) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        // It has a folder by the way that it is made.
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let mut maker = DirBuilder::new();
        maker.recursive(true).mode(FOLDER_MODE);
        let locked = maker.create(folder).and_then(|()| {
            let folder = File::open(folder)?;
            flock(&folder, FlockOperation::LockExclusive)?;
            Ok(folder)
        });
        let locked = locked.map_err(|error| self.failed(error))?;
        let mut contexts = self.read()?;
        let done = change(&mut contexts)?;
        let written = self.write(folder, &toml::to_string(&contexts)?);
        let written = written.and_then(|()| locked.sync_all());
        written.map_err(|error| self.failed(error))?;
        Ok(done)
    }

    fn write(&self, folder: &Path, text: &str) -> io::Result<()> {
        let mut file = tempfile::Builder::new()
            .prefix(".contexts-")
            .permissions(Permissions::from_mode(MODE))
            .tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn check_owner(&self, file: &File) -> anyhow::Result<()> {
        let seen = file.metadata().map_err(|error| self.failed(error))?;
        let path = self.path.display();
        if ![0, rustix::process::geteuid().as_raw()].contains(&seen.uid()) {
            return Err(self.failed("it belongs to another user, and is not believed"));
        }
        if seen.mode() & WRITTEN_BY_OTHERS != 0 {
            return Err(self.failed(format!(
                "others can change it, so that it is not believed: look at what is in it, then `chmod 600 {path}`"
            )));
        }
        if seen.mode() & OF_OTHERS != 0 {
            eprintln!(
                "warning: others could read the passwords in {path}: from now on only you can"
            );
            let mended = file.set_permissions(Permissions::from_mode(MODE));
            mended.map_err(|error| self.failed(error))?;
        }
        Ok(())
    }

    fn failed(&self, problem: impl std::fmt::Display) -> anyhow::Error {
        Failure::usage(format!("contexts in {}: {problem}", self.path.display())).into()
    }
}

fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};

    matches!(error.kind(), NotFound | NotADirectory)
}
