use hob_image::{Digest, ImageError};
use serde_json::json;

use super::{
    Desk,
    scripted::{Made, Script, Scripted},
};

/// What a pull of this says; nothing of it may have got a name.
async fn refused(script: Script) -> String {
    let registry = Scripted::start(script);
    let desk = Desk::new();
    let error: ImageError = desk.pull(&registry).await.unwrap_err();
    assert_eq!(desk.store.names(), []);
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[tokio::test]
async fn a_blob_with_another_digest_is_refused() {
    let made = Made::new(1 << 10);
    let mut script = made.script();
    let mut bytes = made.layer.clone();
    bytes[700] ^= 1;
    script.put_blob(&Digest::of(&made.layer), bytes);
    let text = refused(script).await;
    assert!(
        text.contains("damaged") && text.contains(Digest::of(&made.layer).as_str()),
        "{text}"
    );
}

#[tokio::test]
async fn a_blob_longer_than_it_should_be_is_not_read_on() {
    let made = Made::new(1 << 10);
    let mut script = made.script();
    let mut bytes = made.layer.clone();
    bytes.extend(vec![0; 1 << 20]);
    script.put_blob(&Digest::of(&made.layer), bytes);
    let text = refused(script).await;
    assert!(text.contains("longer than"), "{text}");
}

#[tokio::test]
async fn a_manifest_that_asks_for_more_than_the_disk_has_is_refused_at_once() {
    let made = Made::new(1 << 10);
    let mut script = made.script();
    let mut manifest = made.manifest();
    let layer = manifest["layers"][0].clone();
    let layers = (0..120_u8).map(|number| {
        let mut layer = layer.clone();
        layer["digest"] = json!(Digest::of(&[number]));
        layer["size"] = json!(30_u64 << 30);
        layer
    });
    manifest["layers"] = layers.collect();
    script.put_manifest("1", &manifest);
    let text = refused(script).await;
    assert!(
        text.contains("are free at") && text.contains("hob image prune"),
        "{text}"
    );
}

#[tokio::test]
async fn what_is_no_manifest_is_named() {
    let made = Made::new(1 << 10);
    let wrong = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut script = made.script();
        let mut manifest = made.manifest();
        change(&mut manifest);
        script.put_manifest("1", &manifest);
        script
    };
    let digest = "sha256:../../../../../../../../../../etc/passwd";
    for (script, expected) in [
        (
            wrong(&|m| m["mediaType"] = json!("text/html")),
            "media type `text/html`",
        ),
        (
            wrong(&|m| m["layers"][0]["size"] = json!(u64::MAX / 2)),
            "a layer of 9223372036854775807 bytes",
        ),
        (
            wrong(&|m| m["schemaVersion"] = json!(1)),
            "schema version 1",
        ),
        (
            wrong(&|m| m["layers"][0]["digest"] = json!(digest)),
            "image manifest",
        ),
        (
            wrong(&|m| m["config"] = m["layers"][0].clone()),
            "image manifest",
        ),
        (
            wrong(&|m| m["layers"] = json!([])),
            "0 layers, but its configuration lists 1",
        ),
    ] {
        let text = refused(script).await;
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

#[tokio::test]
async fn another_platform_is_named_with_those_there_are() {
    let made = Made::new(1 << 10);
    let mut script = made.script();
    let mut config: serde_json::Value = serde_json::from_slice(&made.config).unwrap();
    config["architecture"] = json!("arm64");
    let config = config.to_string().into_bytes();
    let mut manifest = made.manifest();
    manifest["config"]["digest"] = json!(Digest::of(&config));
    manifest["config"]["size"] = json!(config.len());
    script.put_blob(&Digest::of(&config), config);
    script.put_manifest("1", &manifest);
    let text = refused(script).await;
    assert!(
        text.contains("no image for linux/amd64, only for linux/arm64"),
        "{text}"
    );
}
