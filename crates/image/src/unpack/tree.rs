use std::{collections::BTreeMap, fs, io, os::fd::OwnedFd, path::Path, rc::Rc};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, statat,
        unlinkat,
    },
    io::Errno,
};

use super::{
    UnpackError, UnpackLimits,
    attributes::{Attributes, Rights, Xattr},
    error::{Fault, Rule, shown},
    name::LayerPath,
};

/// Nothing below the target is ever reached through a symlink, or leads out of it.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const NEW_FILE: OFlags = OFlags::WRONLY
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// Of files and folders as long as the layer is being unpacked.
const NEW_FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const NEW_FOLDER_MODE: Mode = Mode::RWXU;

/// The target with the folders of the layer. Folders get their attributes last of all: those of
/// the layer may forbid to write into them, and what is written into them changes their time.
pub(super) struct Tree {
    root: Rc<OwnedFd>,
    rights: Rights,
    /// Of all folders, by their path. Children stand behind their parents.
    folders: BTreeMap<LayerPath, Attributes>,
    /// Bytes that the paths of further folders may have.
    folder_bytes_left: usize,
    folder_bytes: usize,
    /// The folder of the last entry, where the next one is likely to be. Folders never go away.
    last: Option<(LayerPath, Rc<OwnedFd>)>,
}

/// What has a name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Folder,
    Symlink,
    Whiteout,
    Other,
}

/// Why a folder is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    NotThere,
    BehindSymlink,
}

// === impl Tree ===

impl Tree {
    /// # Errors
    /// [`UnpackError::Target`] unless `target` is an existing, empty folder.
    pub(super) fn open(target: &Path, limits: &UnpackLimits) -> Result<Self, UnpackError> {
        let open = || -> io::Result<OwnedFd> {
            if fs::read_dir(target)?.next().is_some() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(openat(CWD, target, flags, Mode::empty())?)
        };
        let root = open().map_err(|source| UnpackError::Target {
            path: target.to_owned(),
            source,
        })?;
        Ok(Self {
            root: Rc::new(root),
            rights: Rights::own(),
            folders: BTreeMap::from([(LayerPath::root(), Attributes::OF_PARENT)]),
            folder_bytes_left: limits.folder_bytes,
            folder_bytes: limits.folder_bytes,
            last: None,
        })
    }

    pub(super) fn rights(&self) -> Rights {
        self.rights
    }

    /// The folder `path`, made with all above it where the layer had no entry for it.
    ///
    /// # Errors
    /// [`Rule::ThroughSymlink`] and [`Rule::ThroughFile`] for the first part that is no folder.
    pub(super) fn folder(&mut self, path: LayerPath) -> Result<Rc<OwnedFd>, Fault> {
        if path.is_root() {
            return Ok(Rc::clone(&self.root));
        }
        if let Some((last, folder)) = &self.last
            && *last == path
        {
            return Ok(Rc::clone(folder));
        }
        let folder = match open_folder(&self.root, path.bytes()) {
            Ok(folder) => Rc::new(folder),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.walk(&path)?,
            Err(errno) => return Err(Fault::host("open the folder")(errno)),
        };
        self.last = Some((path, Rc::clone(&folder)));
        Ok(folder)
    }

    /// An entry for the folder `path` itself. One that takes the place of something else hides
    /// the folder that lower layers may have there, as that something did.
    pub(super) fn add_folder(
        &mut self,
        path: LayerPath,
        attributes: Attributes,
        xattrs: &[Xattr<'_>],
    ) -> Result<(), Fault> {
        let folder = match path.split() {
            Err(_) => Rc::clone(&self.root),
            Ok((parent, name)) => {
                let parent = self.folder(parent)?;
                match open_folder(&parent, name) {
                    Ok(folder) => Rc::new(folder),
                    Err(Errno::NOENT) => Rc::new(make_folder(&parent, name)?),
                    Err(Errno::NOTDIR | Errno::LOOP) => Rc::new(replace_by_folder(&parent, name)?),
                    Err(errno) => return Err(Fault::host("open the folder")(errno)),
                }
            }
        };
        Xattr::set_on_folder(xattrs, &folder)?;
        self.remember(path, attributes)
    }

    /// Gives all folders their attributes, the innermost first. A fault comes with its folder.
    pub(super) fn finish(self) -> Result<(), (LayerPath, Fault)> {
        for (path, attributes) in self.folders.into_iter().rev() {
            let set = if path.is_root() {
                attributes.of_folder(&self.root, self.rights)
            } else {
                open_folder(&self.root, path.bytes())
                    .map_err(Fault::host("open the folder"))
                    .and_then(|folder| attributes.of_folder(folder, self.rights))
            };
            set.map_err(|fault| (path, fault))?;
        }
        Ok(())
    }

    /// The folder `path`, if it is there.
    pub(super) fn existing(&self, path: &LayerPath) -> Result<Rc<OwnedFd>, Missing> {
        let mut folder = Rc::clone(&self.root);
        if path.is_root() {
            return Ok(folder);
        }
        for (_, name) in path.ways() {
            folder = match open_folder(&folder, name) {
                Ok(next) => Rc::new(next),
                Err(_) if found(&folder, name).ok() == Some(Found::Symlink) => {
                    return Err(Missing::BehindSymlink);
                }
                Err(_) => return Err(Missing::NotThere),
            };
        }
        Ok(folder)
    }

    /// Opens the folders on the way one by one.
    fn walk(&mut self, path: &LayerPath) -> Result<Rc<OwnedFd>, Fault> {
        let mut folder = Rc::clone(&self.root);
        for (way, name) in path.ways() {
            let next = match open_folder(&folder, name) {
                Ok(next) => next,
                Err(Errno::NOENT) => {
                    self.remember(way, Attributes::OF_PARENT)?;
                    make_folder(&folder, name)?
                }
                Err(Errno::NOTDIR | Errno::LOOP) => match found(&folder, name)
                    .map_err(Fault::host("look at the path"))?
                {
                    Found::Symlink => return Err(Rule::ThroughSymlink(shown(way.bytes())).into()),
                    Found::Whiteout => {
                        self.remember(way, Attributes::OF_PARENT)?;
                        replace_by_folder(&folder, name)?
                    }
                    _ => return Err(Rule::ThroughFile(shown(way.bytes())).into()),
                },
                Err(errno) => return Err(Fault::host("open the folder")(errno)),
            };
            folder = Rc::new(next);
        }
        Ok(folder)
    }

    fn remember(&mut self, path: LayerPath, attributes: Attributes) -> Result<(), Fault> {
        let length = path.bytes().len();
        if self.folders.insert(path, attributes).is_none() {
            let left = self.folder_bytes_left.checked_sub(length);
            self.folder_bytes_left = left.ok_or(Rule::TooManyFolders(self.folder_bytes))?;
        }
        Ok(())
    }
}

/// A new, empty file, in the place of what had its name, unless that is a folder.
pub(super) fn make_file(folder: &OwnedFd, name: &[u8]) -> Result<fs::File, Fault> {
    let make = || openat2(folder, name, NEW_FILE, NEW_FILE_MODE, INSIDE);
    replacing(folder, name, "make the file", make).map(fs::File::from)
}

/// Runs `make`, which fails when the name is taken, and makes room for it then.
///
/// # Errors
/// [`Rule::OverFolder`] when a folder has the name.
pub(super) fn replacing<T>(
    folder: &OwnedFd,
    name: &[u8],
    action: &'static str,
    make: impl Fn() -> Result<T, Errno>,
) -> Result<T, Fault> {
    match make() {
        Err(Errno::EXIST) => {}
        made => return made.map_err(Fault::host(action)),
    }
    let taken = found(folder, name).map_err(Fault::host("look at the path"))?;
    if taken == Found::Folder {
        return Err(Rule::OverFolder.into());
    }
    remove_file(folder, name)?;
    make().map_err(Fault::host(action))
}

/// What has the name `name`.
pub(super) fn found(folder: &OwnedFd, name: &[u8]) -> Result<Found, Errno> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Found::Folder,
        FileType::Symlink => Found::Symlink,
        FileType::CharacterDevice if stat.st_rdev == 0 => Found::Whiteout,
        _ => Found::Other,
    })
}

/// The folder `path` below `folder`, if there is no symlink on the way.
pub(super) fn open_folder(folder: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    openat2(folder, path, FOLDER, Mode::empty(), INSIDE)
}

fn make_folder(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Fault> {
    mkdirat(folder, name, NEW_FOLDER_MODE).map_err(Fault::host("make the folder"))?;
    open_folder(folder, name).map_err(Fault::host("open the folder"))
}

fn replace_by_folder(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Fault> {
    remove_file(folder, name)?;
    let made = make_folder(folder, name)?;
    Xattr::make_opaque(&made)?;
    Ok(made)
}

fn remove_file(folder: &OwnedFd, name: &[u8]) -> Result<(), Fault> {
    unlinkat(folder, name, AtFlags::empty()).map_err(Fault::host("replace what was there"))
}
