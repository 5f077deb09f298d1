//! Images that hob has made, in the eyes of other programs: a registry, and a tool for images.
#![allow(clippy::unwrap_used, missing_docs)]

mod disk_full;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Mutex},
};

use hob_image::{
    Assembled, Assembly, Image, ImageRef, ImageStore, Layer, LayerFiles, Origin, Platform,
    Progress, RegistryAccess, RegistryClient, RunSettings, Tagged,
};
use hob_testkit::{Registry, has_programs};
use serde_json::Value;
use tempfile::TempDir;

fn client(registry: &Registry) -> RegistryClient {
    let access = RegistryAccess {
        plain_http: true,
        ..RegistryAccess::default()
    };
    RegistryClient::new(Arc::new(HashMap::from([(registry.name(), access)])))
}

struct Machine {
    data: TempDir,
    store: Arc<ImageStore>,
}

impl Machine {
    fn new() -> Self {
        let data = tempfile::tempdir().unwrap();
        let store = ImageStore::open(data.path()).unwrap();
        Self { data, store }
    }

    fn layer(&self, title: &str, path: &str, content: &str) -> Layer {
        let mut files = LayerFiles::default();
        files.bytes(path, content.as_bytes().to_vec());
        self.store.write_layer(title, &files).unwrap()
    }

    fn image(&self, platform: &str, base: Option<&Image>, layers: &[Layer]) -> Assembled {
        let settings = RunSettings {
            entrypoint: vec!["/function/program".into()],
            env: BTreeMap::from([("PORT".into(), "8080".into())]),
            working_dir: "/function".into(),
            user: "12000:12000".into(),
            port: 8080,
            labels: BTreeMap::from([("org.opencontainers.image.title".into(), "hello".into())]),
        };
        let assembly = Assembly {
            platform: &platform.parse().unwrap(),
            base,
            layers,
            settings: &settings,
        };
        self.store.assemble(&assembly).unwrap()
    }

    fn tag(&self, name: &str, image: &Assembled) {
        let tagged = Tagged {
            name: name.parse().unwrap(),
            digest: image.digest.clone(),
            media_type: image.media_type.into(),
            size: image.length,
            origin: Origin::Local,
        };
        self.store.tag(tagged).unwrap();
    }

    /// Two platforms that share their first layer.
    fn function(&self, handler: &str) -> (Assembled, u64) {
        let below = self.layer("dependencies", "function/.deps/x", &"x".repeat(10_000));
        let above = self.layer("function", "function/program", handler);
        let layers = [below, above.clone()];
        let both = ["linux/amd64", "linux/arm64"].map(|platform| {
            (
                platform.parse::<Platform>().unwrap(),
                self.image(platform, None, &layers),
            )
        });
        (self.store.assemble_index(&both).unwrap(), above.size)
    }
}

fn skopeo(args: &[&str]) -> Vec<u8> {
    let output = Command::new("skopeo").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "skopeo {args:?}: {said}");
    output.stdout
}

#[tokio::test]
async fn a_second_push_sends_only_what_changed() {
    if !has_programs(&["docker-registry", "skopeo"]) {
        return;
    }
    let (machine, registry) = (Machine::new(), Registry::start());
    let client = client(&registry);
    let name: ImageRef = format!("{}/team/hello:1", registry.name()).parse().unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let progress: Progress = {
        let lines = Arc::clone(&lines);
        Arc::new(move |line| lines.lock().unwrap().push(line))
    };
    let (first, _) = machine.function("one");
    let sent = client
        .push(&machine.store, &first.digest, &name, &progress)
        .await;
    let sent = sent.unwrap();
    assert!(sent > 200 && sent < first.size, "{sent} of {}", first.size);
    // The same again costs nothing.
    let again = client
        .push(&machine.store, &first.digest, &name, &progress)
        .await;
    assert_eq!(again.unwrap(), 0);

    let (second, above) = machine.function("two");
    assert_ne!(first.digest, second.digest);
    lines.lock().unwrap().clear();
    let sent = client
        .push(&machine.store, &second.digest, &name, &progress)
        .await;
    let lines = lines.lock().unwrap().join("\n");
    // The layer, and a configuration for each platform.
    assert_eq!(lines.matches(": sending ").count(), 3, "{lines}");
    assert!(lines.contains("is there already"), "{lines}");
    assert!(sent.unwrap() < above + 2_000, "{lines}");

    let place = format!("docker://{name}");
    let copied = machine.data.path().join("copied");
    let target = format!("oci:{}:hello", copied.display());
    skopeo(&["copy", "--all", "--src-tls-verify=false", &place, &target]);
    let index: Value =
        serde_json::from_slice(&fs::read(copied.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], second.digest.to_string());
    for architecture in ["amd64", "arm64"] {
        let seen = skopeo(&[
            "inspect",
            "--tls-verify=false",
            "--override-arch",
            architecture,
            &place,
        ]);
        let seen: Value = serde_json::from_slice(&seen).unwrap();
        assert_eq!(seen["Architecture"], architecture);
        assert_eq!(seen["Layers"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_base_keeps_its_layers_and_variables() {
    if !has_programs(&["skopeo"]) {
        return;
    }
    let machine = Machine::new();
    let bottom = machine.layer("base", "etc/os-release", "NAME=test");
    let base = machine.image("linux/amd64", None, std::slice::from_ref(&bottom));
    let amd64 = "linux/amd64".parse().unwrap();
    let image = machine.store.image(&base.digest, &amd64, "base").unwrap();
    let top = machine.layer("function", "function/program", "x");
    let made = machine.image("linux/amd64", Some(&image), std::slice::from_ref(&top));
    machine.tag("reg.example.net/hello:1", &made);

    let place = format!(
        "oci:{}:reg.example.net/hello:1",
        machine.store.layout().display()
    );
    let seen: Value = serde_json::from_slice(&skopeo(&["inspect", &place])).unwrap();
    assert_eq!(
        seen["Layers"],
        serde_json::json!([bottom.digest, top.digest])
    );
    assert_eq!(seen["Labels"]["org.opencontainers.image.title"], "hello");
    let config: Value = serde_json::from_slice(&skopeo(&["inspect", "--config", &place])).unwrap();
    assert_eq!(config["config"]["User"], "12000:12000");
    assert_eq!(config["config"]["Env"], serde_json::json!(["PORT=8080"]));
    assert_eq!(config["history"].as_array().unwrap().len(), 2);
}

#[test]
fn what_another_tool_wrote_is_taken_over_whole_or_not_at_all() {
    if !has_programs(&["skopeo"]) {
        return;
    }
    let (here, there) = (Machine::new(), Machine::new());
    let layer = there.layer("function", "function/program", "x");
    let made = there.image("linux/arm64", None, std::slice::from_ref(&layer));
    there.tag("reg.example.net/hello:1", &made);
    let copied = there.data.path().join("copied");
    let from = format!(
        "oci:{}:reg.example.net/hello:1",
        there.store.layout().display()
    );
    skopeo(&[
        "copy",
        "--override-arch",
        "arm64",
        &from,
        &format!("oci:{}:x", copied.display()),
    ]);

    let wrong = here
        .store
        .adopt(&copied, &"linux/amd64".parse().unwrap(), &[]);
    let message = wrong.unwrap_err().to_string();
    assert!(
        message.contains("has no image for linux/amd64"),
        "{message}"
    );
    let arm64 = "linux/arm64".parse().unwrap();
    let image = here.store.adopt(&copied, &arm64, &[]).unwrap();
    assert_eq!(image.digest, made.digest);

    let blob = Path::new("blobs/sha256").join(layer.digest.hex());
    fs::write(copied.join(&blob), "changed").unwrap();
    let fresh = Machine::new();
    let message = fresh
        .store
        .adopt(&copied, &arm64, &[])
        .unwrap_err()
        .to_string();
    assert!(message.contains("it is damaged"), "{message}");
    assert!(!fresh.store.blob_path(&layer.digest).exists());
}
