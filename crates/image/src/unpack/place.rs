use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::fd::OwnedFd,
};

use rustix::{
    fs::{AtFlags, FileType, Mode, linkat, makedev, mknodat, statat, symlinkat},
    io::Errno,
};

use super::{
    attributes::{Attributes, Xattr},
    error::{Fault, Rule, shown},
    name::LayerPath,
    tree::{Found, Missing, Tree, found, make_file, open_folder, replacing},
};

/// Bytes of content held at once. Zeros of that length, so aligned, can become holes.
const BUFFER: usize = 64 << 10;
/// Of a fifo until it gets its own.
const NEW_FIFO_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// The content of a file.
pub(super) struct Content<R> {
    pub(super) bytes: R,
    /// Bytes that there have to be.
    pub(super) length: u64,
    pub(super) zeros: Zeros,
}

/// What becomes of long rows of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zeros {
    Written,
    Holes,
}

// === impl Tree ===

/// Everything that is no folder. What has the path already makes room, unless it is a folder.
impl Tree {
    pub(super) fn add_file(
        &mut self,
        path: &LayerPath,
        content: Content<impl Read>,
        attributes: Attributes,
        xattrs: &[Xattr<'_>],
    ) -> Result<(), Fault> {
        let (folder, name) = path.split()?;
        let folder = self.folder(folder)?;
        let mut file = make_file(&folder, name)?;
        content.write_to(&mut file)?;
        attributes.of_file(&file, xattrs, self.rights())
    }

    pub(super) fn add_symlink(
        &mut self,
        path: &LayerPath,
        target: &[u8],
        attributes: Attributes,
    ) -> Result<(), Fault> {
        let (folder, name) = path.split()?;
        let folder = self.folder(folder)?;
        let make = || symlinkat(target, &folder, name);
        replacing(&folder, name, "make the symlink", make)?;
        attributes.of_symlink(&folder, name, self.rights())
    }

    pub(super) fn add_fifo(
        &mut self,
        path: &LayerPath,
        attributes: Attributes,
    ) -> Result<(), Fault> {
        let (folder, name) = path.split()?;
        let folder = self.folder(folder)?;
        let make = || mknodat(&folder, name, FileType::Fifo, NEW_FIFO_MODE, makedev(0, 0));
        replacing(&folder, name, "make the fifo", make)?;
        attributes.of_fifo(&folder, name, self.rights())
    }

    /// A second name for what `target` names already. Its attributes stay what they are.
    ///
    /// # Errors
    /// [`Rule::LinkMissing`], [`Rule::LinkToFolder`], [`Rule::LinkThroughSymlink`].
    pub(super) fn add_hard_link(
        &mut self,
        path: &LayerPath,
        target: &LayerPath,
    ) -> Result<(), Fault> {
        let told = shown(target.bytes());
        let Ok((target_folder, target_name)) = target.split() else {
            return Err(Rule::LinkToFolder(told).into());
        };
        let target_folder = match self.existing(&target_folder) {
            Ok(folder) => folder,
            Err(Missing::NotThere) => return Err(Rule::LinkMissing(told).into()),
            Err(Missing::BehindSymlink) => return Err(Rule::LinkThroughSymlink(told).into()),
        };
        match found(&target_folder, target_name) {
            Ok(Found::Folder) => return Err(Rule::LinkToFolder(told).into()),
            Ok(Found::Whiteout) | Err(_) => return Err(Rule::LinkMissing(told).into()),
            Ok(Found::Symlink | Found::Other) => {}
        }
        let (folder, name) = path.split()?;
        let folder = self.folder(folder)?;
        if is_same(&target_folder, target_name, &folder, name) {
            return Ok(());
        }
        // Without AT_SYMLINK_FOLLOW a link to a symlink is one to the symlink itself.
        let make = || linkat(&target_folder, target_name, &folder, name, AtFlags::empty());
        replacing(&folder, name, "make the hard link", make)
    }

    /// Deletes what lower layers have at `path`. What this layer has there itself stays, but a
    /// folder of it no longer shows what they have in theirs.
    pub(super) fn add_whiteout(&mut self, path: &LayerPath) -> Result<(), Fault> {
        let (folder, name) = path.split()?;
        let folder = self.folder(folder)?;
        let kind = FileType::CharacterDevice;
        match mknodat(&folder, name, kind, Mode::empty(), makedev(0, 0)) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => match open_folder(&folder, name) {
                Ok(own) => Xattr::make_opaque(own),
                Err(_) => Ok(()), // a file, or the same whiteout
            },
            Err(errno) => Err(Fault::host("make the whiteout")(errno)),
        }
    }

    /// Hides what lower layers have in the folder `path`.
    pub(super) fn add_opaque(&mut self, path: LayerPath) -> Result<(), Fault> {
        Xattr::make_opaque(self.folder(path)?)
    }
}

fn is_same(one: &OwnedFd, one_name: &[u8], other: &OwnedFd, other_name: &[u8]) -> bool {
    let identity = |folder, name| {
        let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some((stat.st_dev, stat.st_ino))
    };
    let identity_of_one = identity(one, one_name);
    identity_of_one.is_some() && identity_of_one == identity(other, other_name)
}

// === impl Content ===

impl<R: Read> Content<R> {
    /// # Errors
    /// [`Rule::CutShort`] and [`Rule::Size`] when there is less or more than there has to be.
    fn write_to(mut self, file: &mut File) -> Result<(), Fault> {
        let failed = |source| Fault::Host {
            action: "write the file",
            source,
        };
        let room = usize::try_from(self.length).map_or(BUFFER, |length| length.clamp(1, BUFFER));
        let mut buffer = vec![0; room];
        let mut left = self.length;
        loop {
            let read = fill(&mut self.bytes, &mut buffer).map_err(Fault::Tar)?;
            if read == 0 {
                break;
            }
            left = left.checked_sub(read as u64).ok_or(Rule::Size)?;
            let bytes = &buffer[..read];
            if self.zeros == Zeros::Holes && bytes.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(read as i64)).map_err(failed)?;
            } else {
                file.write_all(bytes).map_err(failed)?;
            }
        }
        if left != 0 {
            return Err(Rule::CutShort.into());
        }
        if self.zeros == Zeros::Holes {
            file.set_len(self.length).map_err(failed)?; // a hole at the end
        }
        Ok(())
    }
}

/// Reads until `buffer` is full or there is no more.
fn fill(bytes: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match bytes.read(&mut buffer[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
