use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fgetxattr, fstat, openat, openat2,
        statat,
    },
    io::Errno,
};
use thiserror::Error;

const FOLDER: &str = "etc";
const PASSWD: &str = "passwd";
const GROUP: &str = "group";
/// Bytes of `etc/passwd` or `etc/group` that are read at most.
const MAX_FILE: u64 = 1 << 20;
/// The largest user or group that an image may name, as with Docker.
const LAST_ID: u32 = i32::MAX as u32;
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Whom the program of an image runs as.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserIds {
    /// The user.
    pub uid: u32,
    /// The main group.
    pub gid: u32,
    /// Further groups, in the order of `etc/group`; the main one can be among them.
    pub groups: Vec<u32>,
}

/// The user of an image could not be found.
#[derive(Debug, Error)]
pub enum UserError {
    /// No entry has this name.
    #[error(
        "user `{user}` of the image: `{name}` is not in its {file}; name one that is, or a number"
    )]
    Unknown {
        /// The text in the image's config.
        user: String,
        /// The part of it that was looked for.
        name: String,
        /// `etc/passwd` or `etc/group`.
        file: &'static str,
    },
    /// A number that no user or group can have.
    #[error("user `{user}` of the image: {number} is above {LAST_ID}")]
    Range {
        /// The text in the image's config.
        user: String,
        /// The number in it.
        number: String,
    },
    /// The file is there, and cannot be taken.
    #[error(
        "user `{user}` of the image: cannot read its {file}: {reason}; `UID:GID` in numbers needs no file"
    )]
    File {
        /// The text in the image's config.
        user: String,
        /// `etc/passwd` or `etc/group`.
        file: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// Resolves the `User` of an image's config, as Docker does: nothing (0:0), `name`, `uid`, and each
/// with `:group` or `:gid`. Names are looked up in the `etc/passwd` and `etc/group` of the image;
/// numbers need no entry there, but a user has the main group and the further groups of its entry
/// unless a group is given.
///
/// `layers` are the folders of the unpacked layers, the topmost first. Symlinks are not followed,
/// and at most 1 MiB is read of a file.
///
/// # Errors
/// An unknown name, a number above 2^31-1, a file that cannot be read.
pub fn find_user(layers: &[PathBuf], user: &str) -> Result<UserIds, UserError> {
    if user.is_empty() {
        return Ok(UserIds::default());
    }
    Search { layers, user }.run()
}

struct Search<'a> {
    layers: &'a [PathBuf],
    user: &'a str,
}

/// A line of `etc/passwd`.
struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
}

/// A line of `etc/group`.
struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// What a layer says about a file.
enum Seen {
    /// Nothing: ask the layer below.
    Nothing,
    /// There is none, whatever the layers below have.
    Deleted,
    Text(String),
}

// === impl Search ===

impl Search<'_> {
    fn run(&self) -> Result<UserIds, UserError> {
        let (user, group) = self.user.split_once(':').unwrap_or((self.user, ""));
        let user = if user.is_empty() { "0" } else { user };
        let number = self.number(user)?;
        if let (Some(uid), Some(gid)) = (number, self.number(group)?) {
            return Ok(UserIds {
                uid,
                gid,
                groups: Vec::new(),
            });
        }
        let passwd = self.read(PASSWD, "etc/passwd")?;
        let mut entries = passwd.lines().filter_map(PasswdEntry::parse);
        let entry = entries.find(|entry| match number {
            Some(uid) => entry.uid == uid,
            None => entry.name == user,
        });
        let (uid, gid) = match (&entry, number) {
            (Some(entry), _) => (entry.uid, entry.gid),
            (None, Some(uid)) => (uid, 0),
            (None, None) => return Err(self.unknown(user, "etc/passwd")),
        };
        if !group.is_empty() {
            return Ok(UserIds {
                uid,
                gid: self.group(group)?,
                groups: Vec::new(),
            });
        }
        let groups = match entry {
            Some(entry) => self.groups_of(entry.name)?,
            None => Vec::new(),
        };
        Ok(UserIds { uid, gid, groups })
    }

    fn group(&self, group: &str) -> Result<u32, UserError> {
        if let Some(gid) = self.number(group)? {
            return Ok(gid);
        }
        let text = self.read(GROUP, "etc/group")?;
        let mut entries = text.lines().filter_map(GroupEntry::parse);
        let entry = entries.find(|entry| entry.name == group);
        entry
            .map(|entry| entry.gid)
            .ok_or_else(|| self.unknown(group, "etc/group"))
    }

    fn groups_of(&self, user: &str) -> Result<Vec<u32>, UserError> {
        let text = self.read(GROUP, "etc/group")?;
        let entries = text.lines().filter_map(GroupEntry::parse);
        let of_user = entries.filter(|entry| entry.members.split(',').any(|name| name == user));
        Ok(of_user.map(|entry| entry.gid).collect())
    }

    /// Nothing when `text` is a name.
    fn number(&self, text: &str) -> Result<Option<u32>, UserError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(None);
        }
        match text.parse() {
            Ok(number) if number <= LAST_ID => Ok(Some(number)),
            _ => Err(UserError::Range {
                user: self.user.to_owned(),
                number: text.to_owned(),
            }),
        }
    }

    /// The text of the topmost file of this name; none is as good as an empty one.
    fn read(&self, name: &str, file: &'static str) -> Result<String, UserError> {
        for layer in self.layers {
            match look(layer, name) {
                Ok(Seen::Nothing) => {}
                Ok(Seen::Deleted) => break,
                Ok(Seen::Text(text)) => return Ok(text),
                Err(error) => {
                    return Err(UserError::File {
                        user: self.user.to_owned(),
                        file,
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(String::new())
    }

    fn unknown(&self, name: &str, file: &'static str) -> UserError {
        UserError::Unknown {
            user: self.user.to_owned(),
            name: name.to_owned(),
            file,
        }
    }
}

/// What `layer` says about the file `name` of its `etc`.
fn look(layer: &Path, name: &str) -> io::Result<Seen> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, layer, flags, Mode::empty())?;
    let flags = flags | OFlags::NOFOLLOW;
    let folder = match openat2(&root, FOLDER, flags, Mode::empty(), INSIDE) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Seen::Nothing),
        Err(errno) => return hidden(&root, FOLDER, errno),
    };
    // A fifo must not make this wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match openat2(&folder, name, flags, Mode::empty(), INSIDE) {
        Ok(file) => text_of(file).map(Seen::Text),
        Err(Errno::NOENT) if is_opaque(&folder) => Ok(Seen::Deleted),
        Err(Errno::NOENT) => Ok(Seen::Nothing),
        Err(errno) => hidden(&folder, name, errno),
    }
}

/// Whether what could not be opened is a whiteout.
fn hidden(folder: &OwnedFd, name: &str, errno: Errno) -> io::Result<Seen> {
    let stat = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice if stat.st_rdev == 0 => Ok(Seen::Deleted),
        FileType::Symlink => Err(io::Error::other("it is or lies behind a symlink")),
        _ => Err(errno.into()),
    }
}

fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0; 1];
    let read = fgetxattr(folder, "user.overlay.opaque", &mut value);
    read == Ok(1) && value == *b"y"
}

fn text_of(file: OwnedFd) -> io::Result<String> {
    if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    File::from(file)
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("it exceeds {MAX_FILE} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

// === impl PasswdEntry ===

impl<'a> PasswdEntry<'a> {
    /// Nothing from a line that is none; other lines count all the same.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Self {
            name,
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }
}

// === impl GroupEntry ===

impl<'a> GroupEntry<'a> {
    /// Nothing from a line that is none; other lines count all the same.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Self {
            name,
            gid: fields.next()?.parse().ok()?,
            members: fields.next().unwrap_or(""),
        })
    }
}
