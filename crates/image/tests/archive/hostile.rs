//! Archives that somebody made to do harm.

use hob_image::{Digest, OCI_INDEX, OCI_MANIFEST};
use serde_json::json;
use tar::{Builder, EntryType, Header};

use crate::bench::{
    Bench, File, REF_NAME, blob, config, descriptor, gzip, index, layer, layout, tar,
};

const NAME: &str = "r.example.net/hello:1.0";

/// One entry with a path that the builder would refuse to write.
fn entry(kind: EntryType, path: &str, link: &str, bytes: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    let mut tar = Builder::new(Vec::new());
    tar.append(&header, bytes).unwrap();
    tar.into_inner().unwrap()
}

#[test]
fn entries_that_could_harm_are_refused_by_name() {
    let bench = Bench::new();
    let wrong = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    let twice = [
        ("a.tar".to_owned(), vec![1]),
        ("./a.tar".to_owned(), vec![2]),
    ];
    for (archive, expected) in [
        (
            entry(EntryType::Regular, "/etc/x", "", b""),
            "`/etc/x` has an absolute path",
        ),
        (
            entry(EntryType::Regular, "a/../../x", "", b""),
            "`a/../../x` has `..`",
        ),
        (
            entry(EntryType::Symlink, "a/b", "../../etc", b""),
            "leads out of it",
        ),
        (
            entry(EntryType::Symlink, "a", "/etc/passwd", b""),
            "leads out of it",
        ),
        (entry(EntryType::Link, "a", "../x", b""), "leads out of it"),
        (
            entry(EntryType::Block, "a", "", b""),
            "`a` is a device node",
        ),
        (entry(EntryType::Fifo, "a", "", b""), "`a` is a named pipe"),
        (
            entry(EntryType::new(b'M'), "a", "", b""),
            "of a kind that no image has",
        ),
        (
            entry(EntryType::Regular, "blobs/sha256/../x", "", b""),
            "`..`",
        ),
        (
            entry(EntryType::Regular, "blobs/sha512/ab", "", b""),
            "SHA-256",
        ),
        (
            entry(EntryType::Regular, &wrong, "", b"y"),
            "has the digest",
        ),
        (
            entry(EntryType::GNULongName, "x", "", &vec![b'a'; 200 << 10]),
            "header is too long",
        ),
        (
            entry(EntryType::XHeader, "x", "", &vec![b'a'; 200 << 10]),
            "header is too long",
        ),
        (tar(&twice), "is there twice"),
        (b"no tar at all".repeat(100), "damaged"),
        (gzip(&tar(&[("readme".into(), vec![1])])), "no image"),
        (Vec::new(), "no image"),
        (
            tar(&[("index.json".into(), b"{".to_vec())]),
            "no image manifest",
        ),
        (
            tar(&[("manifest.json".into(), b"{".to_vec())]),
            "cannot be read",
        ),
        (
            tar(&[("index.json".into(), vec![b' '; (4 << 20) + 1])]),
            "more than 4194304 bytes",
        ),
    ] {
        let message = bench.load(&archive).expect_err(expected);
        assert!(message.contains(expected), "{expected}: {message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    assert!(bench.store.names().is_empty());
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let bench = Bench::new();
    let mut header = Header::new_gnu();
    header.set_path("big.tar").unwrap();
    header.set_size(1 << 60);
    header.set_mode(0o644);
    header.set_cksum();
    let message = bench.load(header.as_bytes()).unwrap_err();
    assert!(message.contains("`big.tar` needs"), "{message}");
}

#[test]
fn floods_are_refused() {
    let bench = Bench::new();
    let files: Vec<File> = (0..10_001)
        .map(|at| (format!("f{at}"), Vec::new()))
        .collect();
    let message = bench.load(&gzip(&tar(&files))).unwrap_err();
    assert!(message.contains("more than 10000 entries"), "{message}");
}

#[test]
fn indexes_of_indexes_are_refused() {
    let bench = Bench::new();
    // Each level doubles what a careless reader would look at.
    let mut files = layout(NAME, "hi");
    files.retain(|(path, _)| path.starts_with("blobs/"));
    let mut below = files[2].1.clone();
    let mut media_type = OCI_MANIFEST;
    for _ in 0..64 {
        let entries = vec![descriptor(media_type, &below); 2];
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
        below = index.to_string().into_bytes();
        media_type = OCI_INDEX;
        files.push(blob(&below));
    }
    files.push((
        "index.json".into(),
        index(OCI_INDEX, &below, REF_NAME, NAME),
    ));
    let message = bench.load(&tar(&files)).unwrap_err();
    assert!(message.contains("more than 4 deep"), "{message}");

    // Many of them beside each other.
    let mut entries = Vec::new();
    let mut files = layout(NAME, "hi");
    files.retain(|(path, _)| path.starts_with("blobs/"));
    for at in 0..250 {
        let below: Vec<_> = (0..5)
            .map(|twin| {
                let image: serde_json::Value = serde_json::from_slice(&files[2].1).unwrap();
                let mut image = image;
                image["annotations"] = json!({"n": format!("{at}-{twin}")});
                image.to_string().into_bytes()
            })
            .collect();
        let listed: Vec<_> = below
            .iter()
            .map(|it| descriptor(OCI_MANIFEST, it))
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed});
        let index = index.to_string().into_bytes();
        entries.push(descriptor(OCI_INDEX, &index));
        files.extend(below.iter().map(|it| blob(it)));
        files.push(blob(&index));
    }
    let top = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries});
    let top = top.to_string().into_bytes();
    files.push(blob(&top));
    files.push(("index.json".into(), index(OCI_INDEX, &top, REF_NAME, NAME)));
    let message = bench.load(&tar(&files)).unwrap_err();
    assert!(message.contains("more than 1024 manifests"), "{message}");
}

#[test]
fn an_archive_that_is_cut_off_tags_nothing() {
    let bench = Bench::new();
    let whole = tar(&layout(NAME, "hi"));
    for length in (0..whole.len()).step_by(512) {
        let _ = bench.load(&whole[..length]);
        let packed = gzip(&whole);
        let _ = bench.load(&packed[..packed.len() * length / whole.len()]);
        let known = bench.store.names();
        // Only the padding at the end may be missing.
        assert!(known.is_empty() || length >= whole.len() - 2048, "{length}");
    }
}

#[test]
fn an_image_without_a_whole_name_needs_one() {
    let bench = Bench::new();
    let archive = tar(&layout("1.0", "hi"));
    let message = bench.load(&archive).unwrap_err();
    assert!(message.contains("only `1.0`"), "{message}");
    let name = NAME.parse().unwrap();
    bench.store.load(archive.as_slice(), Some(&name)).unwrap();
    bench.check(NAME);
}

#[test]
fn a_layer_of_docker_must_be_the_one_of_the_configuration() {
    let bench = Bench::new();
    let layers = [layer("a", "1")];
    let config = config(&hob_image::Platform::host(), &layers);
    let manifest = json!([{"Config": "c.json", "RepoTags": [NAME], "Layers": ["l.tar"]}]);
    let manifest = manifest.to_string().into_bytes();
    for (layer, expected) in [
        (Some(layer("a", "2")), "`l.tar` has the digest"),
        (None, "lacks the file `l.tar`"),
    ] {
        let mut files = vec![
            ("c.json".to_owned(), config.clone()),
            ("manifest.json".to_owned(), manifest.clone()),
        ];
        files.extend(layer.map(|layer| ("l.tar".to_owned(), layer)));
        let message = bench.load(&tar(&files)).unwrap_err();
        assert!(message.contains(expected), "{message}");
    }
}
