//! The program's user namespace: made while there are rights, entered by who gives them up.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process,
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{Pid, WaitOptions, waitpid},
    thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe},
};

use crate::native::{
    identity,
    plan::{Failure, UserNamespace},
};

/// Makes it, with one user. The mounts and the network belong to the namespace around it, so over
/// them nobody inside has any rights.
pub(super) fn make(users: &UserNamespace) -> Result<OwnedFd, Failure> {
    make_by_child(users).map_err(Failure::at("make the program's user namespace"))
}

/// Enters it and becomes its user, without any rights.
pub(super) fn enter(namespace: &OwnedFd, users: &UserNamespace) -> Result<(), Failure> {
    let (uid, gid) = users.inner;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::User))
        .map_err(Failure::at("enter the program's user namespace"))?;
    identity::gain_nothing()?;
    identity::change_user(uid, gid)?;
    identity::drop_capabilities()
}

/// The kernel takes a map of users other than oneself only from who stays outside. So a child makes
/// the namespace, and lives until it is mapped and held.
fn make_by_child(users: &UserNamespace) -> io::Result<OwnedFd> {
    let (made, tell) = pipe_with(PipeFlags::CLOEXEC)?;
    let (wait, let_go) = pipe_with(PipeFlags::CLOEXEC)?;
    let Some(child) = identity::fork()? else {
        drop((made, let_go));
        // SAFETY: this process has one thread and shares nothing of file systems with another.
        let done = unsafe { unshare_unsafe(UnshareFlags::NEWUSER) };
        let number = done.map_or_else(|error| error.raw_os_error(), |()| 0);
        let _ = rustix::io::write(&tell, &number.to_ne_bytes());
        // Until the other end is closed.
        let _ = rustix::io::read(&wait, &mut [0; 1]);
        process::exit(0)
    };
    drop((tell, wait));
    let namespace = answer(&made).and_then(|()| map(child, users));
    drop(let_go);
    let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()));
    namespace
}

fn answer(made: &OwnedFd) -> io::Result<()> {
    let mut number = [0; size_of::<i32>()];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(made, &mut number))?;
    match i32::from_ne_bytes(number) {
        0 if read == number.len() => Ok(()),
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

fn map(child: Pid, users: &UserNamespace) -> io::Result<OwnedFd> {
    let folder = format!("/proc/{}", child.as_raw_nonzero());
    let folder = Path::new(&folder);
    let ((inner_uid, inner_gid), (uid, gid)) = (users.inner, users.outer);
    fs::write(folder.join("setgroups"), "deny")?;
    fs::write(folder.join("uid_map"), format!("{inner_uid} {uid} 1"))?;
    fs::write(folder.join("gid_map"), format!("{inner_gid} {gid} 1"))?;
    Ok(File::open(folder.join("ns/user"))?.into())
}
