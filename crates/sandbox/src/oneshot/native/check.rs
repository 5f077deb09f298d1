//! What is wrong with a spec or a program, found before anything is made.

use std::{
    collections::BTreeSet,
    path::{Component, Path},
};

use super::super::{OneShotSpec, Program};
use crate::{CageLimits, SandboxError, spec::is_id};

/// Most bytes of a path below the box, and of one part of it.
const MAX_PATH: usize = 1024;
const MAX_NAME: usize = 255;
/// In what a filesystem in memory grows, in bytes; on some machines it is more.
const PAGE: u64 = 4096;
/// Folders that a box begins with, and some to spare.
const OWN_INODES: u64 = 8;

pub(in super::super) fn spec(spec: &OneShotSpec) -> Result<(), SandboxError> {
    let wrong = |problem: String| Err(SandboxError::Spec(problem));
    if !is_id(&spec.id) {
        return wrong(format!(
            "id `{}` must be 1 to 100 of a-z, 0-9 and -",
            spec.id
        ));
    }
    if spec.uid == 0 || spec.uid == u32::MAX {
        return wrong(format!(
            "uid {} is not one that a stranger may have",
            spec.uid
        ));
    }
    if spec.limits.cpu_millis == 0 || spec.limits.pids == 0 {
        return wrong("a program needs some processor time and a process".into());
    }
    Ok(())
}

pub(in super::super) fn program(
    program: &Program,
    most: &CageLimits,
    inodes: u64,
) -> Result<(), SandboxError> {
    words(program)
        .and_then(|()| limits(&program.limits, most))
        .and_then(|()| files(program, inodes))
        .map_err(SandboxError::Spec)
}

fn words(program: &Program) -> Result<(), String> {
    if program.argv.first().is_none_or(String::is_empty) {
        return Err("argv is empty: name a program".into());
    }
    let names = || program.env.iter().map(|(name, _)| name);
    if names().any(|name| name.is_empty() || name.contains('=')) {
        return Err("env has a name that is empty or holds `=`".into());
    }
    let values = program.env.iter().map(|(_, value)| value);
    match program
        .argv
        .iter()
        .chain(names())
        .chain(values)
        .any(|text| text.contains('\0'))
    {
        true => Err("argv or env holds a NUL byte".into()),
        false => Ok(()),
    }
}

fn limits(asked: &CageLimits, most: &CageLimits) -> Result<(), String> {
    let all = [
        ("memory", asked.memory, most.memory),
        (
            "cpu_millis",
            asked.cpu_millis.into(),
            most.cpu_millis.into(),
        ),
        ("pids", asked.pids.into(), most.pids.into()),
        ("tmp", asked.tmp, most.tmp),
        ("files", asked.files.into(), most.files.into()),
    ];
    if let Some((name, asked, most)) = all.into_iter().find(|(_, asked, most)| asked > most) {
        return Err(format!("limit {name} is {asked} and may be at most {most}"));
    }
    match asked.cpu_millis == 0 || asked.pids == 0 {
        true => Err("a program needs some processor time and a process".into()),
        false => Ok(()),
    }
}

fn files(program: &Program, inodes: u64) -> Result<(), String> {
    if let Some((path, _)) = program.files.iter().find(|(path, _)| !is_below(path)) {
        let path = path.display();
        return Err(format!(
            "file `{path}` must be a relative path without `.`, `..` and NUL, of at most {MAX_PATH} bytes"
        ));
    }
    let (mut files, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for (path, _) in &program.files {
        if !files.insert(path.as_path()) {
            return Err(format!("file `{}` is there twice", path.display()));
        }
        folders.extend(path.ancestors().skip(1));
    }
    if let Some(path) = files.intersection(&folders).next() {
        return Err(format!("file `{}` is a folder of others", path.display()));
    }
    // The box has a few of its own.
    if (files.len() + folders.len()) as u64 + OWN_INODES > inodes {
        return Err(format!("there may be at most {inodes} files and folders"));
    }
    let room = |text: &Vec<u8>| (text.len() as u64).next_multiple_of(PAGE);
    let bytes: u64 = program.files.iter().map(|(_, text)| room(text)).sum();
    match bytes > program.limits.tmp {
        true => Err(format!(
            "the files take {bytes} bytes and may take at most {}",
            program.limits.tmp
        )),
        false => Ok(()),
    }
}

fn is_below(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    // The components of a path leave out what means nothing, such as a second or a last slash.
    let spelled = path.components().all(|part| match part {
        Component::Normal(name) => name.len() <= MAX_NAME,
        _ => false,
    });
    (1..=MAX_PATH).contains(&bytes.len())
        && spelled
        && !bytes.contains(&0)
        && !bytes.ends_with(b"/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_box() {
        for good in ["a", "a/b.txt", "..a", "ü"] {
            assert!(is_below(Path::new(good)), "{good}");
        }
        let long = "a/".repeat(600) + "a";
        let name = "n".repeat(256);
        for bad in [
            "", "/a", "../a", "a/../b", ".", "./a", "a\0b", "a/", &long, &name,
        ] {
            assert!(!is_below(Path::new(bad)), "{bad}");
        }
    }
}
