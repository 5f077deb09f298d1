//! Backups that are none, are damaged, or mean harm: nothing of them is left.

use std::{fs, path::Path};

use flate2::{Compression, write::GzEncoder};
use hob_testkit::Cli;
use tar::{EntryType, Header};

use super::{back_up, empty, restore};
use crate::bench::{Bench, HOB};

const MANIFEST: &str = r#"{"format": 1, "hob": "0.1.0", "made_at": "2026-11-22T14:08:03Z",
    "functions": 0, "calls": 0, "identity": false, "images": false}"#;

/// A backup with these entries between its manifest and its end.
fn archive(manifest: &str, entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let end = format!(r#"{{"entries": {}}}"#, entries.len() + 1);
    let first = [("backup.json", EntryType::Regular, manifest)];
    let last = [("backup-end.json", EntryType::Regular, end.as_str())];
    for (name, kind, text) in first.iter().chain(entries).chain(&last) {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o4777);
        header.set_mtime(0);
        // Written by hand: the crate itself would refuse the bad names.
        let raw = header.as_old_mut();
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        let body = if *kind == EntryType::Regular {
            text.as_bytes()
        } else {
            raw.linkname[..text.len()].copy_from_slice(text.as_bytes());
            b""
        };
        header.set_size(body.len() as u64);
        header.set_cksum();
        tar.append(&header, body).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Restores these bytes into a new directory, which must fail and leave nothing.
#[track_caller]
fn refused(bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup");
    fs::write(&file, bytes).unwrap();
    let line = restore(&file, &folder.path().join("data")).fails(1);
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 1, "something is left: {line}");
    line
}

#[test]
fn entries_that_have_no_place_are_refused() {
    use EntryType::{Char, Directory, Fifo, Link, Regular, Symlink};
    for (entries, expected) in [
        (vec![("../evil", Regular, "x")], "../evil would leave"),
        (vec![("/evil", Regular, "x")], "/evil would leave"),
        (vec![("bundles/../../evil", Regular, "x")], "would leave"),
        (vec![("hob.lock", Regular, "1")], "hob.lock is no part"),
        (
            vec![("hob.db", Symlink, "/etc/passwd")],
            "hob.db is of a kind",
        ),
        (vec![("hob.db", Directory, "")], "hob.db is of a kind"),
        (vec![("secrets", Regular, "x")], "secrets is of a kind"),
        (
            vec![("secrets/a", Symlink, "/etc")],
            "secrets/a is of a kind",
        ),
        (
            vec![("bundles/h", Link, "hob.db")],
            "bundles/h is of a kind",
        ),
        (vec![("bundles/d", Char, "")], "bundles/d is of a kind"),
        (vec![("bundles/p", Fifo, "")], "bundles/p is of a kind"),
        (
            vec![("hob.db", Regular, "1"), ("hob.db", Regular, "2")],
            "File exists",
        ),
        (
            vec![
                ("hob.db", Regular, "1"),
                ("bundles/l", Symlink, "/tmp"),
                ("bundles/l/x", Symlink, "/etc"),
            ],
            "through a link",
        ),
        (
            vec![("backup-end.json", Regular, "{\"entries\": 1}")],
            "behind its end",
        ),
        (
            vec![("backup-end.json", Regular, "{\"entries\": 9}")],
            "cut short",
        ),
        (vec![], "holds no hob.db"),
        (vec![("hob.db", Regular, "no database")], "not a database"),
    ] {
        let line = refused(&archive(MANIFEST, &entries));
        assert!(line.contains(expected), "{expected}: {line}");
    }
}

#[test]
fn no_file_is_written_through_a_link() {
    let outside = tempfile::tempdir().unwrap();
    let to = outside.path().to_str().unwrap();
    let entries = [
        ("hob.db", EntryType::Regular, "x"),
        ("bundles/l", EntryType::Symlink, to),
        ("bundles/l/evil", EntryType::Regular, "x"),
    ];
    refused(&archive(MANIFEST, &entries));
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn what_is_no_backup_or_a_newer_one_is_named() {
    let newer = r#"{"format": 2, "hob": "7.1.0"}"#;
    let line = refused(&archive(newer, &[]));
    assert!(
        line.contains("format 2") && line.contains("hob 7.1.0 or later"),
        "{line}"
    );
    for bytes in [b"no archive".to_vec(), archive("{", &[])] {
        refused(&bytes);
    }
    let line = refused(b"PK\x03\x04 another kind of archive");
    assert!(line.contains("no backup of hob's"), "{line}");
    // A header that never ends is not read into memory.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    std::io::Write::write_all(&mut bomb, header.as_bytes()).unwrap();
    std::io::Write::write_all(&mut bomb, &vec![b'x'; 1 << 20]).unwrap();
    refused(&bomb.finish().unwrap());
}

#[test]
fn a_part_of_a_backup_is_never_taken_for_the_whole() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    let whole = fs::read(file).unwrap();
    for length in (0..whole.len()).step_by(whole.len() / 20) {
        let line = refused(&whole[..length]);
        assert!(line.contains("cut short"), "{length}: {line}");
    }
    let without_trailer = &whole[..whole.len() - 1];
    assert!(refused(without_trailer).contains("cut short"));
    for at in [whole.len() / 3, whole.len() / 2, whole.len() - 6] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x55;
        refused(&damaged);
    }
}

#[test]
fn a_directory_in_use_stays_as_it_is() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    let line = restore(&file, bench.hob.data()).fails(1);
    assert!(line.contains("in use by another hob"), "{line}");
    bench.hob.get("/function/welcome/").expect(200);

    let data = empty();
    fs::write(data.path().join("mine"), "x").unwrap();
    let line = restore(&file, data.path()).fails(1);
    assert!(
        line.contains("mine is in it") && line.contains("mv "),
        "{line}"
    );
    let left = fs::read_dir(data.path()).unwrap().count();
    assert_eq!(left, 1);
}

#[test]
fn a_restore_that_was_cut_short_is_begun_again_and_nothing_starts_meanwhile() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    // As a power cut leaves it: some parts are in their place, the database is not.
    let data = empty();
    fs::create_dir(data.path().join(".restoring")).unwrap();
    fs::write(data.path().join(".restoring/hob.db"), "x").unwrap();
    fs::create_dir(data.path().join("bundles")).unwrap();
    fs::write(data.path().join("bundles/stale"), "x").unwrap();
    let up = Cli::new(Path::new(HOB)).env("HOB_DATA", data.path());
    let line = up.args(["up", "--listen", "127.0.0.1:0"]).run().fails(1);
    assert!(line.contains("begin it again with `hob restore`"), "{line}");

    restore(&file, data.path()).ok();
    assert!(!data.path().join(".restoring").exists());
    assert!(!data.path().join("bundles/stale").exists());
    let new = hob_testkit::Hob::builder(HOB).data(data).start();
    new.get("/function/welcome/").expect(200);
}
