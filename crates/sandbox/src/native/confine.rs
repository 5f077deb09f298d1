//! Landlock at level `process`: the program sees the host's files, and may use only these.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};

use super::{plan::Failure, standard::DEVICES};

/// The newest version whose rights are asked for; older kernels enforce what they know of it.
const WANTED: ABI = ABI::V6;

/// The version that the kernel offers, 0 for none.
pub(crate) fn kernel_abi() -> i32 {
    /// Asks for the version in place of making a ruleset.
    const VERSION: libc::c_uint = 1;
    // SAFETY: with this flag the kernel reads no memory and makes no descriptor.
    let abi = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    i32::try_from(abi).unwrap_or(0).max(0)
}

/// Opens everything that the program may use. Signals and abstract sockets end at the cage.
pub(crate) fn rules(
    read_only: &[PathBuf],
    read_write: &[PathBuf],
) -> Result<RulesetCreated, Failure> {
    let step = "make landlock rules";
    let ruleset = Ruleset::default().handle_access(AccessFs::from_all(WANTED));
    let ruleset =
        ruleset.and_then(|ruleset| ruleset.scope(Scope::AbstractUnixSocket | Scope::Signal));
    let mut ruleset = ruleset
        .and_then(Ruleset::create)
        .map_err(Failure::at(step))?;
    for path in read_only {
        ruleset = allow(ruleset, path, AccessFs::from_read(WANTED))?;
    }
    for path in read_write
        .iter()
        .map(PathBuf::as_path)
        .chain(DEVICES.map(Path::new))
    {
        ruleset = allow(ruleset, path, AccessFs::from_all(WANTED))?;
    }
    Ok(ruleset)
}

/// A path that is not there cannot be used anyway.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, Failure> {
    let Ok(fd) = PathFd::new(path) else {
        return Ok(rules);
    };
    // The library keeps of `access` what fits a file, when `path` is one.
    let rule = PathBeneath::new(fd, access);
    rules
        .add_rule(rule)
        .map_err(Failure::at(format!("allow {} by landlock", path.display())))
}

/// Confines this process for good. Where the kernel has no landlock this does nothing; the
/// sandbox's capabilities carry the warning.
pub(crate) fn apply(rules: RulesetCreated) -> Result<(), Failure> {
    let status = rules
        .restrict_self()
        .map_err(Failure::at("confine by landlock"))?;
    if status.ruleset == landlock::RulesetStatus::NotEnforced && kernel_abi() > 0 {
        return Err(Failure::at("confine by landlock")(
            "the kernel has landlock and did not enforce it",
        ));
    }
    Ok(())
}
