//! What a program may write to, in a cage with a kernel of its own.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt, chown},
    path::Path,
};

use crate::{
    BOX,
    native::{root::PARTS, standard::STRANGER_ID},
};

/// Hangs folders of the filesystem that the runtime has put on the box into their places, so that
/// one size bounds all of them.
pub(super) fn share() -> io::Result<()> {
    let place = Path::new(BOX);
    // The box itself is last, as it covers the others.
    for (name, target, mode) in PARTS.into_iter().rev() {
        let folder = place.join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode))?;
        if target == BOX {
            chown(&folder, Some(STRANGER_ID), Some(STRANGER_ID))?;
        }
        fs::create_dir_all(target)?;
        rustix::mount::mount_bind(&folder, target)?;
    }
    Ok(())
}
