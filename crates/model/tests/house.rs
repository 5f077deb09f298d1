//! The arrows of the house: a crate may depend on lower layers only, and siblings never see
//! each other. `ARCHITECTURE.md` draws them.

use std::{collections::BTreeMap, fs, path::Path};

const LAYERS: [(&str, u32); 8] = [
    ("hob-model", 0),
    ("hob-image", 1),
    ("hob-sandbox", 1),
    ("hob-store", 1),
    ("hob-engine", 2),
    ("hob-gateway", 2),
    ("hob-control", 2),
    ("hob", 3),
];

/// Narrower than the layers: what the planes may know.
const ALLOWED: [(&str, &[&str]); 3] = [
    ("hob-engine", &["hob-image", "hob-model", "hob-sandbox"]),
    ("hob-gateway", &["hob-model"]),
    ("hob-control", &["hob-image", "hob-model", "hob-store"]),
];

#[test]
fn every_crate_depends_on_lower_layers_only() {
    let layers = BTreeMap::from(LAYERS);
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("crates/");
    let mut seen = 0;
    for entry in fs::read_dir(crates).expect("crates/") {
        let manifest = entry.expect("entry").path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("Cargo.toml");
        let manifest: toml::Table = text.parse().expect("a manifest");
        let name = manifest["package"]["name"]
            .as_str()
            .expect("name")
            .to_owned();
        if name == "hob-testkit" {
            continue; // for tests only, and above everything
        }
        seen += 1;
        let layer = layers.get(name.as_str());
        let layer = layer.unwrap_or_else(|| panic!("{name} has no layer: name it here"));
        let empty = toml::Table::new();
        let dependencies = manifest["dependencies"].as_table().unwrap_or(&empty);
        for dependency in dependencies.keys().filter(|key| key.starts_with("hob")) {
            assert!(
                layers[dependency.as_str()] < *layer,
                "{name} -> {dependency}"
            );
            if let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) {
                assert!(
                    allowed.contains(&dependency.as_str()),
                    "{name} -> {dependency}"
                );
            }
        }
    }
    assert_eq!(seen, LAYERS.len());
}
