//! Removing what programs in cages left behind.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Like `fs::remove_dir_all`, which goes one call deeper and keeps one more descriptor for each
/// folder in a folder: a program can make so many of them that hob would run out of stack. Here
/// the folders of folders are lifted up to the top, so that nothing is ever deep.
///
/// Nobody may be at work in `root` any more.
pub(crate) fn remove_tree(root: &Path) -> io::Result<()> {
    let mut number = 0;
    open_up(root);
    while flatten(root, &mut number)? {}
    fs::remove_dir(root)
}

/// Removes the files of `root` and of its folders; the folders of its folders become its own. Tells
/// whether it found anything.
fn flatten(root: &Path, number: &mut u64) -> io::Result<bool> {
    let mut found = false;
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        found = true;
        if !entry.file_type()?.is_dir() {
            fs::remove_file(entry.path())?;
            continue;
        }
        let folder = entry.path();
        open_up(&folder);
        for inner in fs::read_dir(&folder)? {
            let inner = inner?;
            if inner.file_type()?.is_dir() {
                open_up(&inner.path());
                fs::rename(inner.path(), unused(root, number))?;
            } else {
                fs::remove_file(inner.path())?;
            }
        }
        match fs::remove_dir(&folder) {
            // A folder that shrinks while it is read may not show all: the next round will.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            done => done?,
        }
    }
    Ok(found)
}

fn unused(root: &Path, number: &mut u64) -> PathBuf {
    loop {
        *number += 1;
        let path = root.join(format!(".lifted-{number}"));
        if path.symlink_metadata().is_err() {
            return path;
        }
    }
}

/// Programs may leave folders that even their owner may not change; root may always.
fn open_up(folder: &Path) {
    if !rustix::process::geteuid().is_root() {
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn everything_goes_and_nothing_beside_it() {
        let place = tempfile::tempdir().unwrap();
        let (root, beside) = (place.path().join("root"), place.path().join("beside"));
        fs::create_dir_all(&beside).unwrap();
        fs::write(beside.join("kept"), "x").unwrap();
        for folder in ["a/b/c/d", "a/.lifted-1/e", ".lifted-1/.lifted-2/f", "g"] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(folder).join("file"), "x").unwrap();
            std::os::unix::fs::symlink(&beside, root.join(folder).join("link")).unwrap();
        }
        fs::set_permissions(root.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
        remove_tree(&root).unwrap();
        assert!(!root.exists());
        assert!(beside.join("kept").exists());
        assert_eq!(remove_tree(&root).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_is_too_deep_for_any_path_goes_too() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        fs::create_dir(&root).unwrap();
        let dig = "import os\nfor _ in range(20000):\n    os.mkdir('d')\n    os.chdir('d')\n";
        let made = std::process::Command::new("python3")
            .args(["-c", dig])
            .current_dir(&root)
            .status();
        assert!(made.unwrap().success());
        remove_tree(&root).unwrap();
        assert!(!root.exists());
    }
}
