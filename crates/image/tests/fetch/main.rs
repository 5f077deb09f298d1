//! Fetching images from registries that break off, lie, or keep others out.
#![allow(clippy::unwrap_used, missing_docs)]

mod hostile;
mod login;
mod resume;
mod scripted;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use hob_image::{
    Credential, ImageError, ImageRef, ImageStore, Platform, Progress, Pulled, RegistryAccess,
    RegistryClient,
};
use tempfile::TempDir;

use scripted::Scripted;

/// A store, and what a pull into it said.
struct Desk {
    store: Arc<ImageStore>,
    folder: TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            store: ImageStore::open(folder.path()).unwrap(),
            folder,
            said: Arc::default(),
        }
    }

    async fn pull(&self, registry: &Scripted) -> Result<Pulled, ImageError> {
        self.pull_as(registry, "hello:1", None).await
    }

    async fn pull_as(
        &self,
        registry: &Scripted,
        name: &str,
        credential: Option<Credential>,
    ) -> Result<Pulled, ImageError> {
        let access = RegistryAccess {
            credential,
            plain_http: true,
            authorities: Vec::new(),
        };
        let client = RegistryClient::new(Arc::new(HashMap::from([(registry.name(), access)])));
        let name: ImageRef = format!("{}/{name}", registry.name()).parse().unwrap();
        let said = Arc::clone(&self.said);
        let progress: Progress = Arc::new(move |line| said.lock().unwrap().push(line));
        let platform: Platform = "linux/amd64".parse().unwrap();
        client.pull(&self.store, &name, &platform, &progress).await
    }

    fn said(&self) -> String {
        self.said.lock().unwrap().join("\n")
    }

    /// Names of the files that are there of downloads under way.
    fn partial(&self) -> Vec<u64> {
        let folder = self.folder.path().join("images/partial");
        let entries = std::fs::read_dir(folder).unwrap();
        entries
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect()
    }
}
