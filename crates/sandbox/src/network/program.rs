//! Running `ip` and `nft`, which every Linux has or can have.

use std::{
    env,
    ffi::OsStr,
    io::{self, Read, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::{SandboxError, native::launch::readable};

/// How long one run may take, on a machine that is busy with other things.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Where they are when `PATH` is that of an ordinary user.
const PLACES: [&str; 2] = ["/usr/sbin", "/sbin"];
/// Most of a program's own words in an error, in bytes.
const MAX_WORDS: u64 = 400;

/// Has `ip` carry out one command a line.
pub(super) fn ip(batch: &str) -> Result<(), SandboxError> {
    run("ip", "iproute2", &["-batch", "-"], batch).map(drop)
}

/// What `ip` tells about links, one line each.
pub(super) fn ip_show(links: &[&str]) -> Result<String, SandboxError> {
    let lines = links.iter().map(|link| format!("link show dev {link}\n"));
    let args = ["-details", "-oneline", "-batch", "-"];
    run("ip", "iproute2", &args, &lines.collect::<String>())
}

/// Likewise, but goes on after a line that does not work.
pub(super) fn ip_each(batch: &str) -> Result<(), SandboxError> {
    run("ip", "iproute2", &["-force", "-batch", "-"], batch).map(drop)
}

/// Has `nft` carry out a ruleset, all of it or nothing.
pub(super) fn nft(rules: &str) -> Result<(), SandboxError> {
    run("nft", "nftables", &["-f", "-"], rules).map(drop)
}

/// Says what to install when there is no `nft`.
pub(super) fn need_nft() -> Result<(), SandboxError> {
    find("nft", "nftables").map(drop)
}

/// Packages of the programs that are not there.
pub(super) fn missing() -> Vec<&'static str> {
    let programs = [("ip", "iproute2"), ("nft", "nftables")];
    let missing = programs
        .iter()
        .filter(|(name, package)| find(name, package).is_err());
    missing.map(|(_, package)| *package).collect()
}

fn run(name: &str, package: &str, args: &[&str], input: &str) -> Result<String, SandboxError> {
    let failed = |what: &str| SandboxError::Network(format!("`{name}` {what}"));
    let mut command = Command::new(find(name, package)?);
    command.args(args).env_clear().env("LC_ALL", "C");
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .map_err(|error| failed(&format!("cannot be started: {error}")))?;
    match talk(&mut child, input) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(words)) => Err(failed(&format!("refused: {words}"))),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failed(&error.to_string()))
        }
    }
}

/// What it says to `input`, or why it does not do it. What it says fits into a pipe, so it does
/// not wait for a reader.
fn talk(child: &mut Child, input: &str) -> io::Result<Result<String, String>> {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or(io::ErrorKind::InvalidInput)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    if !readable(pidfd.as_fd(), TIMEOUT)? {
        let seconds = TIMEOUT.as_secs();
        return Err(io::Error::other(format!("did not end within {seconds} s")));
    }
    let succeeded = child.wait()?.success();
    let mut words = Vec::new();
    match (succeeded, child.stdout.take(), child.stderr.take()) {
        (true, Some(mut stdout), _) => stdout.read_to_end(&mut words)?,
        (false, _, Some(stderr)) => stderr.take(MAX_WORDS).read_to_end(&mut words)?,
        _ => 0,
    };
    let words = String::from_utf8_lossy(&words);
    let lines: Vec<&str> = words.lines().map(str::trim).collect();
    Ok(match succeeded {
        true => Ok(words.into_owned()),
        false => Err(lines.join("; ")),
    })
}

fn find(name: &str, package: &str) -> Result<PathBuf, SandboxError> {
    let path = env::var_os("PATH").unwrap_or_default();
    let places = PLACES.map(|place| PathBuf::from(OsStr::new(place)));
    env::split_paths(&path)
        .chain(places)
        .map(|folder| folder.join(name))
        .find(|file| Path::is_file(file))
        .ok_or_else(|| {
            SandboxError::Network(format!(
                "`{name}` is not there, which makes functions' networks: install the package \
                 `{package}`"
            ))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        let error = run("no-such-program", "its-package", &[], "").expect_err("missing");
        let words = error.to_string();
        assert!(
            words.ends_with("install the package `its-package`"),
            "{words}"
        );
    }

    #[test]
    fn a_program_s_own_words_are_passed_on() {
        let script = "read line; echo \"no $line\" >&2; exit 1";
        let error = run("sh", "dash", &["-c", script], "way\n").expect_err("refused");
        assert_eq!(error.to_string(), "network: `sh` refused: no way");
        let echo = run("sh", "dash", &["-c", "cat"], "way\n");
        assert_eq!(echo.expect("done"), "way\n");
    }
}
