//! Archives that mean harm are refused by name.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use hob_model::port::BuildError;
use tar::{Builder, EntryType, Header};

use crate::workshop::Workshop;

type Archive = Builder<GzEncoder<Vec<u8>>>;

/// Adds an entry with a name and a target that no honest tool would write.
fn add(archive: &mut Archive, name: &[u8], kind: EntryType, target: &[u8], content: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name);
    header.as_gnu_mut().unwrap().linkname[..target.len()].copy_from_slice(target);
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_size(content.len() as u64);
    header.set_cksum();
    archive.append(&header, content).unwrap();
}

fn archive(fill: impl FnOnce(&mut Archive)) -> Vec<u8> {
    let mut archive = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    fill(&mut archive);
    archive.into_inner().unwrap().finish().unwrap()
}

fn file(workshop: &Workshop, bytes: &[u8]) -> PathBuf {
    let path = workshop.data().join("upload");
    fs::write(&path, bytes).unwrap();
    path
}

fn error(workshop: &Workshop, bytes: &[u8]) -> BuildError {
    let upload = file(workshop, bytes);
    let error = workshop.build_from(upload).error();
    workshop.assert_no_leftovers();
    error
}

#[test]
fn entries_that_could_reach_outside() {
    use EntryType as Kind;
    let workshop = Workshop::new();
    let link = |archive: &mut Archive, name: &str, target: &str| {
        add(
            archive,
            name.as_bytes(),
            Kind::Symlink,
            target.as_bytes(),
            b"",
        );
    };
    type Fill = Box<dyn FnOnce(&mut Archive)>;
    let one = |name: &'static [u8], kind, target: &'static [u8]| -> Fill {
        Box::new(move |archive| add(archive, name, kind, target, b""))
    };
    let cases: Vec<(Fill, &str)> = vec![
        (one(b"../x", Kind::Regular, b""), "`../x` holds `..`"),
        (one(b"a/../../x", Kind::Regular, b""), "holds `..`"),
        (
            one(b"/etc/x", Kind::Regular, b""),
            "`/etc/x` is an absolute path",
        ),
        (one(b"a\xff", Kind::Regular, b""), "no UTF-8"),
        (one(b"dev", Kind::Char, b""), "`dev` is a device node"),
        (one(b"dev", Kind::Block, b""), "is a device node"),
        (one(b"pipe", Kind::Fifo, b""), "is a named pipe"),
        (one(b"odd", Kind::Continuous, b""), "of a kind"),
        (
            one(b"link", Kind::Symlink, b"/etc/passwd"),
            "`link` is a link out of the folder",
        ),
        (one(b"link", Kind::Symlink, b"../x"), "is a link out"),
        (one(b"a/link", Kind::Symlink, b"../../x"), "is a link out"),
        (one(b"link", Kind::Symlink, b"a/../../x"), "is a link out"),
        (
            one(b"hard", Kind::Link, b"/etc/passwd"),
            "hard link to what is no file",
        ),
        (
            one(b"hard", Kind::Link, b"../x"),
            "hard link to what is no file",
        ),
        (
            // `up` leads up by way of a link that leads down.
            Box::new(move |archive| {
                link(archive, "a/b/down", "../..");
                link(archive, "up", "a/b/down/../..");
            }),
            "`up` is a link out",
        ),
        (
            Box::new(move |archive| {
                link(archive, "d", ".");
                add(archive, b"d/x", Kind::Regular, b"", b"");
            }),
            "`d/x` goes through a symlink",
        ),
        (
            Box::new(move |archive| {
                link(archive, "handler.py", "x");
                add(archive, b"handler.py", Kind::Regular, b"", b"");
            }),
            "`handler.py` is there twice",
        ),
        (
            Box::new(|archive| {
                add(archive, b"x", Kind::Regular, b"", b"");
                add(archive, b"x/y", Kind::Regular, b"", b"");
            }),
            "`x/y` goes through a file",
        ),
    ];
    for (fill, words) in cases {
        let error = error(&workshop, &archive(fill));
        assert!(
            matches!(error, BuildError::Refused(_)),
            "{words}: {error:?}"
        );
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
}

#[test]
fn bombs() {
    let workshop = Workshop::new();
    let many = archive(|archive| {
        for number in 0..=hob_engine::build::MAX_ENTRIES {
            add(
                archive,
                format!("{number}").as_bytes(),
                EntryType::Regular,
                b"",
                b"",
            );
        }
    });
    assert!(
        error(&workshop, &many)
            .to_string()
            .contains("more than 50000 entries")
    );

    let zeros = vec![0; 16 << 20];
    let big = archive(|archive| {
        for number in 0..=64 {
            add(
                archive,
                format!("zeros-{number}").as_bytes(),
                EntryType::Regular,
                b"",
                &zeros,
            );
        }
    });
    assert!(big.len() < 16 << 20);
    assert!(
        error(&workshop, &big)
            .to_string()
            .contains("larger than 1024 MiB")
    );

    let long = archive(|archive| {
        add(archive, b"long", EntryType::GNULongName, b"", &zeros);
        add(archive, b"x", EntryType::Regular, b"", b"");
    });
    assert!(
        error(&workshop, &long)
            .to_string()
            .contains("a header is too long")
    );
    let deep = archive(|archive| {
        let name = "d/".repeat(600) + "x";
        let mut header = Header::new_gnu();
        header.set_size(0);
        archive
            .append_data(&mut header, name, std::io::empty())
            .unwrap();
    });
    assert!(
        error(&workshop, &deep)
            .to_string()
            .contains("path that is too long")
    );
}

#[test]
fn damaged_uploads() {
    let workshop = Workshop::new();
    let good = archive(|archive| {
        add(
            archive,
            b"handler.sh",
            EntryType::Regular,
            b"",
            &[b'#'; 4096],
        )
    });
    let mut bad_sum = GzEncoder::new(Vec::new(), Compression::fast());
    bad_sum.write_all(&[b'x'; 1024]).unwrap();
    for bytes in [
        b"no archive".to_vec(),
        bad_sum.finish().unwrap(),
        good[..good.len() / 2].to_vec(),
    ] {
        let error = error(&workshop, &bytes);
        assert!(matches!(error, BuildError::Refused(_)), "{error:?}");
    }
    assert!(error(&workshop, b"").to_string().contains("damaged"));
}

#[test]
fn honest_links_are_kept_and_set_uid_bits_are_not() {
    let workshop = Workshop::new();
    let bytes = archive(|archive| {
        add(archive, b"lib/real.sh", EntryType::Regular, b"", b"cat\n");
        add(
            archive,
            b"lib/again.sh",
            EntryType::Link,
            b"lib/real.sh",
            b"",
        );
        add(
            archive,
            b"sub/up",
            EntryType::Symlink,
            b"../lib/real.sh",
            b"",
        );
        add(
            archive,
            b"handler.sh",
            EntryType::Symlink,
            b"lib/real.sh",
            b"",
        );
        add(archive, b"./lib/", EntryType::Directory, b"", b"");
    });
    let upload = file(&workshop, &bytes);
    let revision = workshop.build_from(upload).result.unwrap();
    let bundle = workshop.bundle(&revision);
    assert_eq!(fs::read_to_string(bundle.join("sub/up")).unwrap(), "cat\n");
    assert_eq!(
        fs::read_to_string(bundle.join("lib/again.sh")).unwrap(),
        "cat\n"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(bundle.join("lib/real.sh"))
            .unwrap()
            .permissions(),
    );
    assert_eq!(mode & 0o7777, 0o755);
}
