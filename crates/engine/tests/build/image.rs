//! Images between two machines: bases come from a registry, and what is made goes there.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use hob_image::{
    Assembly, Dockerfiles, ImageBuilder, ImageOrder, ImageRef, ImageStore, LayerFiles, MadeImage,
    Origin, Platform, RegistryAccess, RegistryClient, RunSettings,
};
use hob_model::port::{BuildError, BuildLine, BuildLog, Packing, Source};
use hob_testkit::{REGISTRY_PROGRAM, Registry, has_programs};

use crate::workshop::Workshop;

const PLATFORMS: [&str; 2] = ["linux/amd64", "linux/arm64"];

struct Maker {
    workshop: Workshop,
    store: Arc<ImageStore>,
    lines: Arc<Mutex<Vec<BuildLine>>>,
    registry: String,
}

fn client(registry: &str) -> RegistryClient {
    let access = RegistryAccess {
        plain_http: true,
        ..RegistryAccess::default()
    };
    RegistryClient::new(Arc::new(HashMap::from([(registry.to_owned(), access)])))
}

fn platforms() -> Vec<Platform> {
    PLATFORMS.map(|platform| platform.parse().unwrap()).into()
}

impl Maker {
    fn new(registry: &Registry) -> Self {
        let workshop = Workshop::new();
        Self {
            store: ImageStore::open(&workshop.data()).unwrap(),
            workshop,
            lines: Arc::default(),
            registry: registry.name(),
        }
    }

    fn name(&self, rest: &str) -> ImageRef {
        format!("{}/{rest}", self.registry).parse().unwrap()
    }

    /// Builds for two platforms and pushes.
    async fn make(&self, folder: &Path, base: &str) -> Result<MadeImage, BuildError> {
        let store = Arc::clone(&self.store);
        let maker = self.workshop.image_maker(store, client(&self.registry));
        let lines = Arc::clone(&self.lines);
        let log: BuildLog = Arc::new(move |line| lines.lock().unwrap().push(line));
        let source = Source {
            function: "hello".parse().unwrap(),
            archive: self.workshop.pack(folder),
            packing: Packing::Folder,
        };
        let order = ImageOrder {
            image: self.name("hello:1"),
            platforms: platforms(),
            base: Some(self.name(base)),
            push: true,
            dockerfile: Dockerfiles::Allowed,
        };
        maker.build_image(source, order, log).await
    }

    /// What was said since the last look.
    fn said(&self) -> String {
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        let texts = lines.into_iter().map(|line| match line {
            BuildLine::Step(text) | BuildLine::Output(text) => text,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// Somebody else puts a base into the registry.
    async fn publish_base(&self) {
        let place = tempfile::tempdir().unwrap();
        let store = ImageStore::open(place.path()).unwrap();
        let mut files = LayerFiles::default();
        files.bytes("bin/sh", b"a program".to_vec());
        let layer = store.write_layer("base", &files).unwrap();
        let both: Vec<_> = platforms()
            .into_iter()
            .map(|platform| {
                let made = store.assemble(&Assembly {
                    platform: &platform,
                    base: None,
                    layers: std::slice::from_ref(&layer),
                    settings: &RunSettings::default(),
                });
                (platform.clone(), made.unwrap())
            })
            .collect();
        let index = store.assemble_index(&both).unwrap();
        let progress = Arc::new(|_| {});
        let pushed = client(&self.registry)
            .push(
                &store,
                &index.digest,
                &self.name("shell:1"),
                &(progress as _),
            )
            .await;
        assert!(pushed.unwrap() > 0);
    }
}

#[tokio::test]
async fn a_base_is_fetched_once_and_only_what_changed_is_sent() {
    if !has_programs(&[REGISTRY_PROGRAM]) {
        return;
    }
    let registry = Registry::start();
    let maker = Maker::new(&registry);
    maker.publish_base().await;
    let files = [
        ("handler.sh", "#!/bin/sh\ncat\n"),
        ("hob.toml", "timeout = \"5s\"\n"),
    ];
    let folder = maker.workshop.folder("hello", &files);
    let first = maker.make(&folder, "shell:1").await.unwrap();
    let said = maker.said();
    assert!(
        said.contains(&format!("fetching base {}", maker.name("shell:1"))),
        "{said}"
    );
    assert!(
        said.contains("is there already"),
        "the base's layer: {said}"
    );
    let tagged = maker.store.tagged(&maker.name("hello:1")).unwrap();
    assert_eq!(
        (tagged.digest, tagged.origin),
        (first.digest.clone(), Origin::Local)
    );
    let base = maker.store.tagged(&maker.name("shell:1")).unwrap();
    assert_eq!(base.origin, Origin::Pulled);

    // Nothing new: hob.toml says only how hob runs it.
    fs::write(folder.join("hob.toml"), "timeout = \"6s\"\n").unwrap();
    let again = maker.make(&folder, "shell:1").await.unwrap();
    assert_eq!((again.digest, again.sent), (first.digest.clone(), Some(0)));
    let said = maker.said();
    assert!(!said.contains("fetching base"), "{said}");

    fs::write(folder.join("handler.sh"), "#!/bin/sh\ntac\n").unwrap();
    let changed = maker.make(&folder, "shell:1").await.unwrap();
    assert_ne!(changed.digest, first.digest);
    let said = maker.said();
    // One layer for both platforms, and a configuration for each.
    assert_eq!(said.matches(": sending ").count(), 3, "{said}");

    // With the registry gone, what is here is enough to build, and the image stays.
    drop(registry);
    let error = maker
        .make(&folder, "shell:1")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("the image is built and stays on this machine: registry "),
        "{error}"
    );
    let error = maker
        .make(&folder, "other:1")
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("base: registry ") && error.contains("cannot be reached"),
        "{error}"
    );
    maker.workshop.assert_no_leftovers();
}
