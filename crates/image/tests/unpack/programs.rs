//! Layers as the tar programs of the world write them.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    io::Write,
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::place::{Place, is_root, needs_programs, xattr};

/// What can be said about a file in one line; times in whole seconds unless the format has more.
type Description = BTreeMap<PathBuf, String>;

fn describe(root: &Path, seconds_only: bool) -> Description {
    let mut all = Description::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = match metadata.file_type() {
                kind if kind.is_dir() => {
                    folders.push(path.clone());
                    Vec::new()
                }
                kind if kind.is_symlink() => fs::read_link(&path)
                    .unwrap()
                    .as_os_str()
                    .as_bytes()
                    .to_vec(),
                kind if kind.is_file() => fs::read(&path).unwrap(),
                _ => Vec::new(),
            };
            let line = format!(
                "{:o} {}:{} {}.{} {} {:?}",
                metadata.mode(),
                metadata.uid(),
                metadata.gid(),
                metadata.mtime(),
                if seconds_only {
                    0
                } else {
                    metadata.mtime_nsec()
                },
                if metadata.is_dir() {
                    0
                } else {
                    metadata.nlink()
                },
                hob_image::Digest::of(&content),
            );
            all.insert(path.strip_prefix(root).unwrap().to_owned(), line);
        }
    }
    all
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let deep = root.join("deep/".repeat(30)).join("n".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("file"), "deep").unwrap();
    symlink("t/".repeat(150), deep.join("link")).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"\xe9 \xff\n")), "latin").unwrap();
    fs::write(root.join("program"), "#!/bin/sh").unwrap();
    fs::set_permissions(root.join("program"), PermissionsExt::from_mode(0o4755)).unwrap();
    fs::hard_link(root.join("program"), root.join("same")).unwrap();
    fs::write(root.join("large"), vec![42; 300_000]).unwrap();
    fs::create_dir(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), PermissionsExt::from_mode(0o1777)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(root.join("large"), Some(1000), Some(3_000_000)).unwrap();
    }
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("fifo"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(root.join("large"), "user.mime", b"x/y", flags).unwrap();
    folder
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

#[test]
fn what_gnu_tar_packs_is_what_is_unpacked() {
    if !needs_programs(&["tar"]) {
        return;
    }
    let folder = folder();
    let root = folder.path().to_str().unwrap();
    for (options, seconds_only) in [
        (&["--format=gnu"][..], true),
        (&["--format=pax", "--xattrs"], false),
        (&["--format=pax", "--xattrs", "--acls", "--selinux"], false),
        (&["--format=gnu", "-b1"], true),
    ] {
        let tar = run("tar", &[options, &["-C", root, "-c", "."]].concat(), b"");
        let place = Place::new();
        place.unpack(&tar).unwrap();
        let expected = describe(folder.path(), seconds_only);
        assert_eq!(
            describe(&place.target, seconds_only),
            expected,
            "{options:?}"
        );
        let same = [
            place.metadata("program").ino(),
            place.metadata("same").ino(),
        ];
        assert_eq!(same[0], same[1]);
        if options.contains(&"--xattrs") {
            assert_eq!(xattr(&place.path("large"), "user.mime").unwrap(), b"x/y");
        }
    }
}

#[test]
fn the_digest_is_that_of_sha256sum() {
    if !needs_programs(&["tar", "gzip", "zstd", "sha256sum"]) {
        return;
    }
    let folder = folder();
    let root = folder.path().to_str().unwrap();
    let tar = run("tar", &["-C", root, "-c", "."], b"");
    let sum = String::from_utf8(run("sha256sum", &[], &tar)).unwrap();
    let sum = format!("sha256:{}", sum.split_whitespace().next().unwrap());
    for layer in [
        tar.clone(),
        run("gzip", &["-9"], &tar),
        run("zstd", &["-19", "-q"], &tar),
    ] {
        let unpacked = Place::new().unpack(&layer).unwrap();
        assert_eq!(unpacked.diff_id.as_str(), sum);
    }
}

#[test]
fn files_with_holes_keep_content_and_holes() {
    if !needs_programs(&["tar"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let file = File::create(folder.path().join("sparse")).unwrap();
    for piece in 0..60 {
        let content = format!("piece {piece}").repeat(piece as usize + 1);
        file.write_all_at(content.as_bytes(), (piece * 5 + 1) << 17)
            .unwrap();
    }
    file.set_len(64 << 20).unwrap();
    let hole = File::create(folder.path().join("hole")).unwrap();
    hole.set_len(1 << 20).unwrap();
    File::create(folder.path().join("empty")).unwrap();
    let expected = describe(folder.path(), true);
    for options in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let tar = run("tar", &[options, &["-C", root, "-Sc", "."]].concat(), b"");
        assert!(tar.len() < 2 << 20, "this tar has found the holes");
        let place = Place::new();
        let unpacked = place.unpack(&tar).unwrap();
        assert_eq!(describe(&place.target, true), expected, "{options:?}");
        assert_eq!(unpacked.bytes, 65 << 20);
        assert!(place.metadata("sparse").blocks() * 512 < 8 << 20);
    }
}
