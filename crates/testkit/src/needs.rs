/// Whether these programs are on this machine. A test that cannot run says so loudly; where
/// `CI=true` it fails instead, so that nothing is passed by unseen.
///
/// # Panics
/// When a program is missing and `CI` is `true`.
pub fn has_programs(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let there = |program: &str| folders.iter().any(|folder| folder.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(|program| !there(program)).collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("NOT TESTED: this machine has no {missing:?}");
    assert!(!std::env::var("CI").is_ok_and(|ci| ci == "true"), "{line}");
    eprintln!("{line}");
    false
}
