//! What hob writes and reads itself.

use hob_image::{Digest, OCI_INDEX, OCI_MANIFEST, Origin, Tagged};

use crate::bench::{Bench, REF_NAME, blob, config, gzip, index, layer, layout, tar, two_platforms};

const NAME: &str = "r.example.net/hello:1.0";

#[test]
fn an_archive_is_the_same_each_time_and_comes_back_whole() {
    let (one, two) = (Bench::new(), Bench::new());
    let loaded = one.load(&tar(&layout(NAME, "hi"))).unwrap();
    assert_eq!(loaded[0].origin, Origin::Local);
    let archive = one.save(&[NAME]);
    assert_eq!(archive, one.save(&[NAME, NAME]));
    // Whether it is compressed or not.
    assert_eq!(two.load(&gzip(&archive)).unwrap(), loaded);
    assert_eq!(two.check(NAME), one.check(NAME));
    assert_eq!(two.save(&[NAME]), archive);
}

#[test]
fn several_images_share_a_file() {
    let (one, two) = (Bench::new(), Bench::new());
    one.load(&tar(&layout(NAME, "hi"))).unwrap();
    one.load(&tar(&layout("localhost/other:2", "ho"))).unwrap();
    let archive = one.save(&["localhost/other:2", NAME]);
    let names: Vec<_> = two.load(&archive).unwrap();
    let names: Vec<_> = names.iter().map(|tagged| tagged.name.to_string()).collect();
    assert_eq!(names, ["localhost/other:2", NAME]);
    // One name for both makes no sense; for one it wins.
    let given = "localhost/mine:3".parse().unwrap();
    let refusal = two.store.load(archive.as_slice(), Some(&given));
    let refusal = refusal.unwrap_err().to_string();
    assert!(
        refusal.contains("several images (localhost/other:2, "),
        "{refusal}"
    );
    let one_image = one.save(&[NAME]);
    two.store.load(one_image.as_slice(), Some(&given)).unwrap();
    assert_eq!(two.check("localhost/mine:3"), one.check(NAME));
}

#[test]
fn of_an_image_for_several_platforms_all_is_written_or_this_machines() {
    let bench = Bench::new();
    let blobs = two_platforms();
    let top = blobs.last().unwrap();
    let mut files: Vec<_> = blobs.iter().map(|bytes| blob(bytes)).collect();
    files.push(("index.json".into(), index(OCI_INDEX, top, REF_NAME, NAME)));
    let all = bench.load(&tar(&files)).unwrap();
    assert_eq!(all[0].digest, Digest::of(top));
    let whole = bench.save(&[NAME]);
    assert_eq!(Bench::new().load(&whole).unwrap(), all);

    // As after a pull for one platform: the other one's layer and manifest are not here.
    let partial = Bench::new();
    for at in [0, 1, 2, 6] {
        partial.store.put_blob(&blobs[at]).unwrap();
    }
    let tagged = Tagged { ..all[0].clone() };
    partial.store.tag(tagged).unwrap();
    let loaded = Bench::new().load(&partial.save(&[NAME])).unwrap();
    assert_eq!(loaded[0].digest, Digest::of(&blobs[2]));
    assert_eq!(loaded[0].media_type, OCI_MANIFEST);
    // The same for a file that another program wrote so.
    let holes = files.into_iter().filter(|(path, _)| {
        !path.contains(Digest::of(&blobs[4]).hex()) && !path.contains(Digest::of(&blobs[5]).hex())
    });
    let loaded = Bench::new().load(&tar(&holes.collect::<Vec<_>>())).unwrap();
    assert_eq!(loaded[0].digest, Digest::of(&blobs[2]));

    let none = Bench::new();
    none.store.put_blob(top).unwrap();
    none.store.tag(all[0].clone()).unwrap();
    let refusal = none.store.save(&[NAME.parse().unwrap()], Vec::new());
    let refusal = refusal.unwrap_err().to_string();
    assert!(refusal.contains("none of its platforms"), "{refusal}");
}

#[test]
fn what_is_damaged_or_not_here_is_not_written() {
    let bench = Bench::new();
    bench.load(&tar(&layout(NAME, "hi"))).unwrap();
    let name = || [NAME.parse().unwrap()];
    let layer = gzip(&layer("hello", "hi"));
    let path = bench.store.blob_path(&Digest::of(&layer));
    let mut other = layer.clone();
    other[20] ^= 1;
    std::fs::write(&path, other).unwrap();
    let error = bench.store.save(&name(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("damaged"), "{error}");
    std::fs::remove_file(path).unwrap();
    let error = bench.store.save(&name(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("is missing"), "{error}");
    bench.store.untag(&name()[0]).unwrap();
    let error = bench.store.save(&name(), Vec::new()).unwrap_err();
    assert!(error.to_string().contains("not on this machine"), "{error}");
}

#[test]
fn an_archive_of_docker_gets_a_manifest() {
    let bench = Bench::new();
    let layers = [layer("a", "1"), layer("b", "2")];
    let platform = hob_image::Platform::host();
    let manifest = serde_json::json!([{
        "Config": "c.json", "RepoTags": [NAME, "localhost/also:1"],
        "Layers": ["one/layer.tar", "two/layer.tar"],
    }]);
    let mut archive = tar::Builder::new(Vec::new());
    let config = config(&platform, &layers);
    let manifest = manifest.to_string();
    for (path, bytes) in [
        ("one/VERSION", b"1.0".as_slice()),
        ("one/layer.tar", &layers[0]),
        ("x.tar", &layers[1]),
        ("c.json", &config),
        ("repositories", b"{}"),
        ("manifest.json", manifest.as_bytes()),
    ] {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, path, bytes).unwrap();
    }
    // As newer ones do: the layer's own folder holds a link.
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    archive
        .append_link(&mut header, "two/layer.tar", "../x.tar")
        .unwrap();
    let loaded = bench.load(&archive.into_inner().unwrap()).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(bench.check(NAME), bench.check("localhost/also:1"));
}
