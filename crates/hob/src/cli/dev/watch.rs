use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::{sync::mpsc, time::timeout};

use crate::pack;

/// An editor writes a file in several steps; a build begins when so long nothing more comes.
const QUIET: Duration = Duration::from_millis(60);
/// A folder that something writes to all the time is built all the same.
const QUIET_LIMIT: Duration = Duration::from_secs(2);

/// Waits for changes of what would be packed.
pub(super) struct Watch {
    folder: PathBuf,
    watcher: RecommendedWatcher,
    events: mpsc::UnboundedReceiver<PathBuf>,
}

impl Watch {
    /// Watches `folder` and the folders inside that are packed; not, say, `node_modules`, which
    /// may hold more folders than the kernel lets one watch.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        let (sender, events) = mpsc::unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let Ok(event) = event else { return };
            if event.kind.is_access() {
                return;
            }
            for path in event.paths {
                // The receiver is gone when the program ends.
                let _ = sender.send(path);
            }
        })
        .context("cannot watch for changes")?;
        let mut watch = Self {
            folder: folder.to_owned(),
            watcher,
            events,
        };
        watch.add_folders()?;
        Ok(watch)
    }

    /// Returns one of the files that changed, relative to the folder, when the changes are over.
    ///
    /// # Errors
    /// When the folder cannot be watched any more.
    pub(super) async fn changed(&mut self) -> anyhow::Result<PathBuf> {
        let mut changed = loop {
            let path = self.next().await?;
            if pack::packs(&self.folder, &path) {
                break path;
            }
        };
        let settle = async {
            while let Ok(Some(path)) = timeout(QUIET, self.events.recv()).await {
                // Editors write to a file of another name first, which is of no interest.
                if !changed.exists() && pack::packs(&self.folder, &path) {
                    changed = path;
                }
            }
        };
        // When it is over: a build begins either way.
        let _ = timeout(QUIET_LIMIT, settle).await;
        self.add_folders()?;
        let inside = changed.strip_prefix(&self.folder).unwrap_or(&changed);
        Ok(inside.to_owned())
    }

    async fn next(&mut self) -> anyhow::Result<PathBuf> {
        let path = self.events.recv().await;
        path.context("cannot watch for changes any more")
    }

    /// Folders may have come; watching one twice changes nothing.
    fn add_folders(&mut self) -> anyhow::Result<()> {
        for folder in pack::folders(&self.folder) {
            let watched = self.watcher.watch(&folder, RecursiveMode::NonRecursive);
            if let Err(error) = watched
                && folder == self.folder
            {
                return Err(error).context(format!("cannot watch {}", folder.display()));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_packed_file_wakes_it_and_an_ignored_one_does_not() {
        let above = tempfile::tempdir().expect("temp dir");
        let folder = above.path().canonicalize().expect("there");
        fs::write(folder.join(".gitignore"), "*.log\n").expect("file");
        let mut watch = Watch::new(&folder).expect("watches");
        fs::write(folder.join("debug.log"), "x").expect("file");
        fs::write(folder.join("handler.py"), "x").expect("file");
        assert_eq!(
            watch.changed().await.expect("watches"),
            Path::new("handler.py")
        );
        fs::create_dir(folder.join("lib")).expect("folder");
        assert_eq!(watch.changed().await.expect("watches"), Path::new("lib"));
        fs::write(folder.join("lib/deep.py"), "x").expect("file");
        assert_eq!(
            watch.changed().await.expect("watches"),
            Path::new("lib/deep.py")
        );
    }
}
