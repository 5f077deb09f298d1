//! Writes an archive that a server sent into a folder, and nothing outside of it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use flate2::read::GzDecoder;
use tar::{Archive, Entry, EntryType};

use crate::exit::Failure;

/// Most entries that an archive may hold.
const ENTRIES_MAX: usize = 200_000;
/// Most bytes that an archive may unpack to.
const BYTES_MAX: u64 = 8 << 30;

/// Unpacks the gzip-compressed tar `source` into `target`, which must be empty or new. Either
/// all of it is there afterwards or nothing.
///
/// # Errors
/// One line that names the entry that is refused.
pub(crate) fn unpack(source: impl Read, target: &Path) -> anyhow::Result<usize> {
    check_target(target)?;
    let target = std::path::absolute(target)?;
    let above = target.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(above)?;
    // Beside the target, so that it can take the target's place in one step.
    let unpacked = tempfile::Builder::new()
        .prefix(".hob-unpacking-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir_in(above)?;
    let files = write_entries(source, unpacked.path())?;
    let from = unpacked.keep();
    fs::rename(&from, &target).inspect_err(|_| {
        let _ = fs::remove_dir_all(&from);
    })?;
    Ok(files)
}

/// Checks early, before anything is asked of a server.
///
/// # Errors
/// One line with the cure, when `target` is not an empty folder or nothing.
pub(crate) fn check_target(target: &Path) -> anyhow::Result<()> {
    let refuse = |problem: &str| {
        Err(Failure::failed(format!(
            "{} {problem}: name an empty or a new folder",
            target.display()
        ))
        .into())
    };
    match fs::read_dir(target).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => refuse("is not empty"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => refuse("is not a folder"),
        Err(error) => refuse(&format!("cannot be read ({error})")),
    }
}

fn write_entries(source: impl Read, root: &Path) -> anyhow::Result<usize> {
    let mut archive = Archive::new(GzDecoder::new(source));
    let mut links: Vec<(PathBuf, PathBuf)> = Vec::new();
    let (mut entries, mut files, mut room) = (0, 0, BYTES_MAX);
    for entry in archive.entries()? {
        let mut entry = entry?;
        entries += 1;
        if entries > ENTRIES_MAX {
            anyhow::bail!("the archive holds more than {ENTRIES_MAX} entries");
        }
        let name = entry.path()?.into_owned();
        let inside = inside(&name)?;
        let path = root.join(&inside);
        match entry.header().entry_type() {
            EntryType::Directory => fs::create_dir_all(&path)?,
            EntryType::Regular => {
                write_file(&mut entry, &path, &mut room)?;
                files += 1;
            }
            EntryType::Symlink => {
                let to = entry.link_name()?.unwrap_or_default().into_owned();
                check_link(&inside, &to)?;
                links.push((path, to));
                files += 1;
            }
            _ => anyhow::bail!("entry {} is no file, folder or link", name.display()),
        }
    }
    // Last, so that no file is ever written through one of them.
    make_links(links, root)?;
    Ok(files)
}

/// Makes links, each where it is and where it points to, of which none goes through another.
pub(crate) fn make_links(links: Vec<(PathBuf, PathBuf)>, root: &Path) -> anyhow::Result<()> {
    for (path, to) in links {
        let mut above = path.ancestors().skip(1).take_while(|above| *above != root);
        if above.any(Path::is_symlink) {
            anyhow::bail!("an entry of the archive goes through a link");
        }
        make_parent(&path)?;
        symlink(to, path)?;
    }
    Ok(())
}

fn write_file(entry: &mut Entry<'_, impl Read>, path: &Path, room: &mut u64) -> anyhow::Result<()> {
    make_parent(path)?;
    let executable = entry.header().mode()? & 0o111 != 0;
    // `create_new` also refuses a second entry of the same name.
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(if executable { 0o755 } else { 0o644 })
        .open(path)?;
    *room -= io::copy(&mut entry.take(*room), &mut file)?;
    if *room == 0 {
        anyhow::bail!("the archive unpacks to more than {BYTES_MAX} bytes");
    }
    Ok(())
}

/// Makes the folder that `path` is in.
pub(crate) fn make_parent(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), fs::create_dir_all)
}

/// The name without `.`; refused when it is absolute or climbs.
pub(crate) fn inside(name: &Path) -> anyhow::Result<PathBuf> {
    let mut inside = PathBuf::new();
    for part in name.components() {
        match part {
            Component::Normal(part) => inside.push(part),
            Component::CurDir => {}
            _ => anyhow::bail!("entry {} would leave the folder", name.display()),
        }
    }
    Ok(inside)
}

/// A link may point wherever it likes below the root, by a relative path. `..` may only stand at
/// its beginning: after a name that is itself a link it could mean anything.
fn check_link(inside: &Path, to: &Path) -> anyhow::Result<()> {
    let mut depth = inside.components().count().saturating_sub(1);
    let mut went_down = false;
    for part in to.components() {
        match part {
            Component::Normal(_) => went_down = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 && !went_down => depth -= 1,
            _ => anyhow::bail!(
                "link {} to {} would leave the folder",
                inside.display(),
                to.display()
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use tar::Header;

    use super::*;

    fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (name, kind, text) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_mode(0o755);
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
            tar.append(&header, body).expect("entry");
        }
        tar.into_inner().expect("tar").finish().expect("gzip")
    }

    #[test]
    fn a_folder_arrives_whole() {
        let above = tempfile::tempdir().expect("temp dir");
        let target = above.path().join("deep/out");
        let bytes = archive(&[
            ("./", EntryType::Directory, ""),
            ("./bin/run", EntryType::Regular, "#!/bin/sh"),
            ("latest", EntryType::Symlink, "bin/run"),
        ]);
        assert_eq!(unpack(&bytes[..], &target).expect("unpacks"), 2);
        assert_eq!(
            fs::read(target.join("latest")).expect("reads"),
            b"#!/bin/sh"
        );
    }

    #[test]
    fn what_would_leave_the_folder_is_refused_and_nothing_is_left() {
        use EntryType::{Char, Link, Regular, Symlink};
        for (entries, expected) in [
            (vec![("../evil", Regular, "x")], "../evil would leave"),
            (vec![("/evil", Regular, "x")], "/evil would leave"),
            (vec![("a/../../evil", Regular, "x")], "would leave"),
            (vec![("l", Symlink, "../x")], "link l to ../x would leave"),
            (vec![("l", Symlink, "/etc")], "link l to /etc would leave"),
            (vec![("h", Link, "a")], "entry h is no file"),
            (vec![("d", Char, "")], "entry d is no file"),
            (vec![("a", Regular, "1"), ("a", Regular, "2")], "exists"),
            (
                vec![("b/a", Symlink, ".."), ("b/a/c/x", Symlink, "../y")],
                "through a link",
            ),
            (
                vec![("d/e", Symlink, "../.."), ("l", Symlink, "d/e/../x")],
                "would leave",
            ),
            (
                vec![("d/e", Symlink, ".."), ("l", Symlink, "d/e/../x")],
                "link l to d/e/../x would leave",
            ),
        ] {
            let above = tempfile::tempdir().expect("temp dir");
            let target = above.path().join("out");
            let bytes = archive(&entries);
            let error = unpack(&bytes[..], &target).expect_err(expected);
            let message = format!("{error:#}");
            assert!(message.contains(expected), "{message}");
            assert_eq!(fs::read_dir(above.path()).expect("reads").count(), 0);
        }
    }

    #[test]
    fn a_link_never_redirects_a_later_file() {
        let above = tempfile::tempdir().expect("temp dir");
        let bytes = archive(&[
            ("a", EntryType::Symlink, "b"),
            ("a/x", EntryType::Regular, "1"),
        ]);
        assert!(unpack(&bytes[..], &above.path().join("out")).is_err());
    }

    #[test]
    fn a_target_in_use_is_kept() {
        let target = tempfile::tempdir().expect("temp dir");
        fs::write(target.path().join("mine"), "x").expect("file");
        let bytes = archive(&[("a", EntryType::Regular, "1")]);
        let message = unpack(&bytes[..], target.path())
            .expect_err("full")
            .to_string();
        assert!(message.contains("is not empty"), "{message}");
        assert!(target.path().join("mine").exists());
    }
}
