use std::fs;

use hob_image::{ImageFault, ImageStore};
use hob_testkit::Disk;

use crate::Machine;

#[tokio::test]
async fn a_layer_that_does_not_fit_is_named_and_leaves_nothing() {
    let Some(disk) = Disk::new(8) else { return };
    let data = disk.folder();
    let store = ImageStore::open(data.path()).unwrap();
    let machine = Machine { data, store };
    let layer = machine.layer("function", "function/program", "x");
    let made = machine.image("linux/amd64", None, &[layer]);
    let platform = "linux/amd64".parse().unwrap();
    let image = machine.store.image(&made.digest, &platform, "hello");
    let error = machine.store.unpack(&image.unwrap()).await.unwrap_err();
    let layers = machine.data.path().join("layers");
    let line = error.to_string();
    assert!(
        line.contains("make room") && line.contains(layers.to_str().unwrap()),
        "{line}"
    );
    assert!(error.is_disk_full() && error.fault() == ImageFault::Host);
    assert_eq!(fs::read_dir(layers).unwrap().count(), 0);
}
