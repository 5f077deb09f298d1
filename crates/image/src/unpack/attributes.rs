use std::os::fd::AsFd;

use rustix::fs::{
    AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags, chmodat, chownat,
    fchmod, fchown, fsetxattr, futimens, utimensat,
};

use super::{
    UnpackLimits,
    error::{Fault, Rule, shown},
    pax::PaxRecords,
};

/// Bytes of an attribute's name: the kernel's `XATTR_NAME_MAX`.
const XATTR_NAME: usize = 255;
const CAPABILITY: &[u8] = b"security.capability";
const USER: &[u8] = b"user.";
/// What overlayfs reads: as root, and mounted with `userxattr`.
const OVERLAY: [&[u8]; 3] = [b"trusted.", b"user.overlay.", b"user.overlay"];
const OPAQUE: &str = "user.overlay.opaque";

/// Whether this process may give files to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rights {
    /// Owners and capabilities are those of the layer.
    Root,
    /// All belongs to this user, who may always read it and remove it.
    User,
}

/// Owner, rights and time of a file or folder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    /// With setuid, setgid and the sticky bit, without the type.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// None: when it was made here.
    pub(super) mtime: Option<Timespec>,
}

/// An extended attribute that is kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Xattr<'a> {
    name: &'a [u8],
    value: &'a [u8],
}

// === impl Rights ===

impl Rights {
    /// Those of this process.
    pub(super) fn own() -> Self {
        if rustix::process::geteuid().is_root() {
            Self::Root
        } else {
            Self::User
        }
    }
}

// === impl Attributes ===

impl Attributes {
    /// All bits of a mode but those of the type.
    pub(super) const MODE_BITS: u32 = 0o7777;
    /// What a folder gets that has no entry.
    pub(super) const OF_PARENT: Self = Self {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: None,
    };
    /// What hob itself needs of a file, if it is not root, to read it.
    const READABLE: u32 = 0o400;
    /// What hob itself needs of a folder, if it is not root, to remove what is in it.
    const REMOVABLE: u32 = 0o700;

    /// Gives them and `xattrs` to a file, whose content is there already.
    pub(super) fn of_file(
        &self,
        file: impl AsFd,
        xattrs: &[Xattr<'_>],
        rights: Rights,
    ) -> Result<(), Fault> {
        // A new owner takes setuid and capabilities away, a new mode may forbid attributes.
        self.set_owner(&file, rights)?;
        Xattr::set_on_file(xattrs, &file, rights)?;
        self.set_mode_and_time(&file, rights, Self::READABLE)
    }

    /// Gives them to a folder, whose content and extended attributes are there already.
    pub(super) fn of_folder(&self, folder: impl AsFd, rights: Rights) -> Result<(), Fault> {
        self.set_owner(&folder, rights)?;
        self.set_mode_and_time(&folder, rights, Self::REMOVABLE)
    }

    /// Gives those that a symlink can have to the one named `name`.
    pub(super) fn of_symlink(
        &self,
        folder: impl AsFd,
        name: &[u8],
        rights: Rights,
    ) -> Result<(), Fault> {
        if rights == Rights::Root {
            let (uid, gid) = self.owner();
            chownat(&folder, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Fault::host("set the owner"))?;
        }
        utimensat(&folder, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(Fault::host("set the time"))
    }

    /// Gives them to the fifo named `name`, which this process has just made.
    pub(super) fn of_fifo(
        &self,
        folder: impl AsFd,
        name: &[u8],
        rights: Rights,
    ) -> Result<(), Fault> {
        self.of_symlink(&folder, name, rights)?; // a fifo is not opened either
        let mode = Mode::from_raw_mode(self.mode);
        chmodat(&folder, name, mode, AtFlags::empty()).map_err(Fault::host("set the mode"))
    }

    fn set_owner(&self, fd: impl AsFd, rights: Rights) -> Result<(), Fault> {
        if rights == Rights::User {
            return Ok(());
        }
        let (uid, gid) = self.owner();
        fchown(fd, uid, gid).map_err(Fault::host("set the owner"))
    }

    fn set_mode_and_time(
        &self,
        fd: impl AsFd,
        rights: Rights,
        own_needs: u32,
    ) -> Result<(), Fault> {
        let mode = match rights {
            Rights::Root => self.mode,
            Rights::User => self.mode | own_needs,
        };
        fchmod(&fd, Mode::from_raw_mode(mode)).map_err(Fault::host("set the mode"))?;
        futimens(&fd, &self.times()).map_err(Fault::host("set the time"))
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn times(&self) -> Timestamps {
        let omit = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        };
        let time = self.mtime.unwrap_or(omit);
        Timestamps {
            last_access: time,
            last_modification: time,
        }
    }
}

// === impl Xattr ===

impl<'a> Xattr<'a> {
    /// Those that are to be set: `user.*` and `security.capability`. Labels of other systems are
    /// left away.
    ///
    /// # Errors
    /// [`Rule::OverlayXattr`] for what steers overlayfs, [`Rule::XattrName`], [`Rule::LongXattr`].
    pub(super) fn parse_all(
        records: &PaxRecords<'a>,
        limits: &UnpackLimits,
    ) -> Result<Vec<Self>, Rule> {
        let mut kept = Vec::new();
        for (name, value) in records.xattrs() {
            if name.is_empty() || name.len() > XATTR_NAME || name.contains(&0) {
                return Err(Rule::XattrName);
            }
            let [trusted, overlay, bare] = OVERLAY;
            if name.starts_with(trusted) || name.starts_with(overlay) || name == bare {
                return Err(Rule::OverlayXattr(shown(name)));
            }
            if value.len() > limits.xattr_bytes {
                return Err(Rule::LongXattr(limits.xattr_bytes));
            }
            let of_user = name.strip_prefix(USER);
            if name == CAPABILITY || of_user.is_some_and(|rest| !rest.is_empty()) {
                kept.push(Self { name, value });
            }
        }
        Ok(kept)
    }

    /// Sets `xattrs` on a file. Capabilities need root; without it they are left away.
    fn set_on_file(xattrs: &[Self], file: impl AsFd, rights: Rights) -> Result<(), Fault> {
        let settable = |xattr: &&Self| xattr.name != CAPABILITY || rights == Rights::Root;
        for xattr in xattrs.iter().filter(settable) {
            xattr.set(&file)?;
        }
        Ok(())
    }

    /// Sets `xattrs` on a folder, which has no capabilities.
    pub(super) fn set_on_folder(xattrs: &[Self], folder: impl AsFd) -> Result<(), Fault> {
        for xattr in xattrs.iter().filter(|xattr| xattr.name != CAPABILITY) {
            xattr.set(&folder)?;
        }
        Ok(())
    }

    /// Hides what the layers below have in this folder. Read by overlayfs mounted with
    /// `userxattr`.
    ///
    /// See <https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories>.
    pub(super) fn make_opaque(folder: impl AsFd) -> Result<(), Fault> {
        fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty())
            .map_err(Fault::host("hide the folder of lower layers"))
    }

    fn set(&self, fd: impl AsFd) -> Result<(), Fault> {
        fsetxattr(fd, self.name, self.value, XattrFlags::empty())
            .map_err(Fault::host("set an extended attribute"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<usize, Rule> {
        let record = format!("SCHILY.xattr.{name}=v\n");
        let length = record.len() + 3;
        let record = format!("{length} {record}");
        let records = PaxRecords::parse(record.as_bytes()).expect("it is valid");
        Xattr::parse_all(&records, &UnpackLimits::default()).map(|kept| kept.len())
    }

    #[test]
    fn only_harmless_attributes_are_kept() {
        assert_eq!(parse("user.mime"), Ok(1));
        assert_eq!(parse("security.capability"), Ok(1));
        for left in [
            "security.selinux",
            "system.posix_acl_access",
            "user.",
            "user",
            "x.y",
        ] {
            assert_eq!(parse(left), Ok(0), "{left}");
        }
        for steering in [
            "trusted.overlay.opaque",
            "trusted.any",
            "user.overlay.redirect",
            "user.overlay",
        ] {
            assert_eq!(parse(steering), Err(Rule::OverlayXattr(steering.into())));
        }
        assert_eq!(parse("user.a\0"), Err(Rule::XattrName));
    }
}
