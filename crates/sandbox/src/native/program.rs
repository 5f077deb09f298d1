//! The last steps before the program is there: what its process alone must have or lose.

use std::{
    convert::Infallible,
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use landlock::RulesetCreated;

use super::{
    confine, identity,
    plan::{Failure, Plan},
};
use crate::seccomp::{self, Filter};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Becomes the program; returns only why that did not work.
pub(crate) fn exec(plan: &Plan, filter: &mut Filter, rules: Option<RulesetCreated>) -> Failure {
    match prepare(plan, filter, rules) {
        Err(failure) => failure,
        Ok(()) => Failure {
            step: None,
            problem: replace(&plan.argv, &plan.env),
        },
    }
}

fn prepare(plan: &Plan, filter: &mut Filter, rules: Option<RulesetCreated>) -> Result<(), Failure> {
    identity::new_session().map_err(Failure::at("make a session"))?;
    let cwd = format!("enter the folder {}", plan.cwd.display());
    rustix::process::chdir(&plan.cwd).map_err(Failure::at(cwd))?;
    identity::close_on_exec().map_err(Failure::at("close descriptors"))?;
    identity::reset_signals().map_err(Failure::at("reset signals"))?;
    identity::yield_to_wakers().map_err(Failure::at("set the scheduling policy"))?;
    if let Some(rules) = rules {
        confine::apply(rules)?;
    }
    // Last, since the filter refuses much of the above.
    seccomp::load(filter).map_err(Failure::at("load the seccomp filter"))
}

/// Tries every place where the program may be; returns what was wrong with the best of them.
pub(crate) fn replace(argv: &[String], env: &[String]) -> String {
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let arguments: Vec<CString> = argv.iter().map(|arg| text(arg)).collect();
    let environment: Vec<CString> = env.iter().map(|pair| text(pair)).collect();
    let path = env
        .iter()
        .find_map(|pair| pair.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    let name = &argv[0];
    let mut best: Option<(PathBuf, io::Error)> = None;
    for place in places(name, path) {
        let Ok(program) = CString::new(place.as_os_str().as_bytes()) else {
            continue;
        };
        let Err(error) = execve(&program, &arguments, &environment);
        let absent =
            matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) && !place.exists();
        if !absent && best.is_none() {
            best = Some((place, error));
        }
    }
    match best {
        Some((place, error)) => explain(&place, &error),
        None if name.contains('/') => "not found in the cage: check the path".into(),
        None => format!("not found in the cage's PATH {path}: install it or give its path"),
    }
}

fn places(name: &str, path: &str) -> Vec<PathBuf> {
    if name.contains('/') {
        return vec![name.into()];
    }
    path.split(':')
        .filter(|folder| !folder.is_empty())
        .map(|folder| Path::new(folder).join(name))
        .collect()
}

fn explain(place: &Path, error: &io::Error) -> String {
    let place = place.display();
    match error.raw_os_error() {
        Some(libc::ENOENT) => {
            format!(
                "{place} is there, but the interpreter in its first line, or its loader, is not in the cage"
            )
        }
        Some(libc::EACCES) => {
            format!("{place} may not be executed by the cage's user: `chmod 755` it")
        }
        Some(libc::ENOEXEC) => {
            format!(
                "{place} is no program for this machine: a script needs a first line such as #!/bin/sh"
            )
        }
        _ => format!("{place}: {error}"),
    }
}

fn execve(program: &CString, argv: &[CString], env: &[CString]) -> Result<Infallible, io::Error> {
    let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
        texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([std::ptr::null()])
            .collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to texts that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}
