use std::path::PathBuf;

/// Whether these programs are on this machine. A test that cannot run says so loudly; where
/// `CI=true` it fails instead, so that nothing is passed by unseen.
///
/// # Panics
/// When a program is missing and `CI` is `true`.
pub fn has_programs(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs
        .iter()
        .filter(|program| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return true;
    }
    not_tested(&format!("this machine has no {missing:?}"))
}

/// Whether these tests run as root, and may do `what` only root can: `make sandboxes`. A test that
/// cannot run says so loudly, and fails where `CI=true`, as for [`has_programs`].
///
/// # Panics
/// When the user is another one and `CI` is `true`.
pub fn is_root(what: &str) -> bool {
    rustix::process::geteuid().is_root() || not_tested(&format!("only root can {what}"))
}

fn not_tested(why: &str) -> bool {
    let line = format!("NOT TESTED: {why}");
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{line}");
    eprintln!("{line}");
    false
}

/// A program that no package of the system has, so that not even `CI=true` may ask for it. A test
/// that goes without says so.
pub fn rare_program(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        eprintln!("NOT TESTED: this machine has no `{program}`, which `make test` tries to get");
    }
    found
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = std::env::split_paths(&path).map(|folder| folder.join(program));
    files.find(|file| file.is_file())
}
