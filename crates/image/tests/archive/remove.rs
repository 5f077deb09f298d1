//! Taking blobs away, one by one and by pruning.

use std::{collections::BTreeSet, sync::Arc};

use hob_image::{Digest, ImageError, Needed, Pruning, Removal, Tagged};

use crate::bench::{Bench, image, layout, tar};

const NAME: &str = "r.example.net/hello:1.0";

fn nothing() -> Result<Needed, ImageError> {
    Ok(Needed::default())
}

#[tokio::test]
async fn what_somebody_needs_stays() {
    let bench = Bench::new();
    let store = Arc::clone(&bench.store);
    let tagged = bench.load(&tar(&layout(NAME, "hi"))).unwrap().remove(0);
    let layer = Digest::of(&image(&hob_image::Platform::host(), "hi")[1]);
    let home = || Some("r.example.net/hello".to_owned());
    let named = store.remove(layer.clone(), None, nothing).await.unwrap();
    assert_eq!(named, Removal::Named(tagged.name.clone()));
    let used = || {
        let manifests = BTreeSet::from([tagged.digest.clone()]);
        move || {
            Ok::<_, ImageError>(Needed {
                manifests,
                ..Needed::default()
            })
        }
    };
    let manifest = || tagged.digest.clone();
    let in_use = store.remove(manifest(), home(), used()).await;
    assert_eq!(in_use.unwrap(), Removal::InUse);
    // A name elsewhere keeps the file, not the names here.
    let other = Tagged {
        name: "localhost/mine:1".parse().unwrap(),
        ..tagged.clone()
    };
    store.tag(other.clone()).unwrap();
    let done = store.remove(manifest(), home(), nothing).await.unwrap();
    assert_eq!(done, Removal::Done);
    assert_eq!(store.names(), std::slice::from_ref(&other));
    bench.check("localhost/mine:1");
    store.untag(&other.name).unwrap();
    let in_use = store.remove(layer.clone(), None, used()).await.unwrap();
    assert_eq!(in_use, Removal::InUse);
    for expected in [Removal::Done, Removal::Missing] {
        let removal = store.remove(layer.clone(), None, nothing).await.unwrap();
        assert_eq!(removal, expected);
    }
}

#[tokio::test]
async fn what_was_just_pushed_is_not_pruned() {
    let bench = Bench::new();
    let kept = bench.store.put_blob(b"half of a push").unwrap();
    let old = bench.store.put_blob(b"long forgotten").unwrap();
    let file = std::fs::File::open(bench.store.blob_path(&old)).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let prune = || bench.store.prune(nothing, Pruning::Unreachable);
    // Somebody asked for it.
    assert!(bench.store.touch_blob(&old).is_some());
    prune().await.unwrap();
    assert!(bench.store.blob_length(&old).is_some());
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    prune().await.unwrap();
    assert!(bench.store.blob_length(&old).is_none());
    assert!(bench.store.blob_length(&kept).is_some());
}

#[tokio::test]
async fn nothing_goes_when_nobody_can_tell_what_is_needed() {
    let bench = Bench::new();
    let tagged = bench.load(&tar(&layout(NAME, "hi"))).unwrap().remove(0);
    let layer = Digest::of(&image(&hob_image::Platform::host(), "hi")[1]);
    let file = std::fs::File::open(bench.store.blob_path(&layer)).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    std::fs::write(bench.store.blob_path(&tagged.digest), "damaged").unwrap();
    let pruned = bench.store.prune(nothing, Pruning::Unreachable).await;
    assert!(
        matches!(pruned, Err(ImageError::Damaged { .. })),
        "{pruned:?}"
    );
    assert!(
        bench.store.blob_length(&layer).is_some(),
        "it may be needed"
    );
}
