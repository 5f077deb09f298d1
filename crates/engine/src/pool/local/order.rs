//! Orders come from anybody: nothing of one goes any further before it was looked at here.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use hob_model::{
    Memory,
    sandbox::{RunFile, RunMaxima, RunOrder},
};
use hob_sandbox::{BOX, Program};

use super::{
    config::LocalPoolConfig,
    languages::{Languages, PATH},
};

/// Most files of one order.
const FILES_MOST: usize = 256;
/// Most bytes of a file's path, and of one part of it.
const PATH_MOST: usize = 1024;
const PART_MOST: usize = 255;
/// Most parts of a file's path.
const DEPTH_MOST: usize = 16;
/// What a file takes at least, in bytes, and by which its size is rounded up.
const PAGE: u64 = 4096;
/// Most arguments, and most variables of the environment.
const ARGS_MOST: usize = 1024;
const ENV_MOST: usize = 256;
/// Most bytes of one of them; the kernel takes up to 128 KiB.
const WORD_MOST: usize = 128 << 10;
/// Most bytes of them all, with the script where it is one: of the kernel's 2 MiB, half.
const WORDS_MOST: usize = 1 << 20;
/// Most bytes of the name of a variable.
const NAME_MOST: usize = 255;
/// Most bytes on stdin.
const STDIN_MOST: u64 = 16 << 20;

/// What is to be run, checked.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) program: Program,
    pub(super) limits: RunMaxima,
}

impl Job {
    /// # Errors
    /// Names what is wrong with the order, and what is right.
    pub(super) fn of(
        order: RunOrder,
        languages: &Languages,
        config: &LocalPoolConfig,
    ) -> Result<Self, String> {
        let limits = config.limits.settle(&order.limits)?;
        let language = languages.get(&order.language)?;
        let command = language.command(&order.script, &order.args)?;
        let mut files = paths(&order.files)?;
        if let Some(name) = &command.file {
            let path = PathBuf::from(name);
            if files.iter().any(|file| file.starts_with(&path)) {
                return Err(format!(
                    "file `{name}` is the script's own: call yours otherwise"
                ));
            }
            files.push(path);
        }
        let script = command.file.is_some().then_some(order.script);
        let contents = order
            .files
            .into_iter()
            .map(|file| file.contents)
            .chain(script);
        let files: Vec<_> = files.into_iter().zip(contents).collect();
        let sizes = files.iter();
        let sizes = sizes.map(|(path, contents)| (path.as_path(), contents.len()));
        fits_on_disk(sizes, limits.disk.0)?;
        check_stdin(&order.stdin)?;
        let env = environment(order.env)?;
        check_words(&command.argv, &env)?;
        Ok(Self {
            program: Program {
                argv: command.argv,
                env,
                files,
                stdin: order.stdin,
                limits: config.of_cage(&limits),
            },
            limits,
        })
    }
}

/// Looks at an order that is to be run elsewhere under `limits`, as [`Job::of`] does at those of
/// this machine; what its language adds is looked at there.
///
/// # Errors
/// Names what is wrong with the order, and what is right.
pub(in crate::pool) fn check(order: &RunOrder, limits: &RunMaxima) -> Result<(), String> {
    let paths = paths(&order.files)?;
    let sizes = order.files.iter().map(|file| file.contents.len());
    fits_on_disk(paths.iter().map(PathBuf::as_path).zip(sizes), limits.disk.0)?;
    check_stdin(&order.stdin)?;
    check_environment(&order.env)?;
    check_words(&order.args, &order.env)
}

/// Whether `name` can be that of a file in the folder where programs start.
///
/// # Errors
/// Names it, and what is wrong.
pub(super) fn file_name(name: &str) -> Result<(), String> {
    match path(name)?.components().count() {
        1 => Ok(()),
        _ => Err(format!(
            "`{name}` is in a folder: it has to be a plain name"
        )),
    }
}

fn paths(files: &[RunFile]) -> Result<Vec<PathBuf>, String> {
    if files.len() > FILES_MOST {
        let number = files.len();
        return Err(format!(
            "{number} files are too many: {FILES_MOST} is the most"
        ));
    }
    let paths = files
        .iter()
        .map(|file| path(&file.path).map_err(|problem| format!("file {problem}")));
    let paths = paths.collect::<Result<Vec<_>, _>>()?;
    let mut seen = BTreeSet::new();
    for path in &paths {
        if !seen.insert(path.as_path()) {
            return Err(format!("file `{}` is there twice", path.display()));
        }
    }
    for path in &paths {
        let mut above = path.ancestors().skip(1);
        if let Some(file) = above.find(|above| seen.contains(above)) {
            let (path, file) = (path.display(), file.display());
            return Err(format!(
                "file `{path}` cannot be below `{file}`, which is no folder"
            ));
        }
    }
    Ok(paths)
}

fn path(text: &str) -> Result<PathBuf, String> {
    let wrong = |why: &str| {
        let shown: String = text.chars().take(PART_MOST).collect();
        Err(format!("{shown:?} {why}"))
    };
    if text.is_empty() || text.len() > PATH_MOST || text.contains('\0') {
        return wrong("is no path: 1 to 1024 bytes without NUL are");
    }
    let path = Path::new(text);
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::Normal(part) if part.len() <= PART_MOST => parts.push(part),
            Component::Normal(_) => return wrong("has a part of more than 255 bytes"),
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return wrong("leads out of its folder: it has to be relative, without `..`");
            }
        }
    }
    match parts.components().count() {
        0 => wrong("names no file"),
        _ if text.ends_with('/') => wrong("names a folder: folders come with their files"),
        depth if depth > DEPTH_MOST => wrong("has more than 16 parts"),
        _ => Ok(parts),
    }
}

/// Whether there is room for the files, and for the folders on the way to them.
fn fits_on_disk<'a>(
    files: impl Iterator<Item = (&'a Path, usize)>,
    disk: u64,
) -> Result<(), String> {
    let size = |(path, size): (&Path, usize)| {
        let folders = path.components().count() as u64 - 1;
        (size as u64).next_multiple_of(PAGE) + folders * PAGE
    };
    let needed: u64 = files.map(size).sum();
    // Of no files, it is not asked.
    if needed > disk.next_multiple_of(PAGE) {
        let disk = Memory(disk);
        return Err(format!(
            "limit `disk` is {disk}, and the files need {needed} bytes"
        ));
    }
    Ok(())
}

fn check_stdin(stdin: &[u8]) -> Result<(), String> {
    if stdin.len() as u64 > STDIN_MOST {
        let most = Memory(STDIN_MOST);
        return Err(format!("stdin is longer than {most}, which is the most"));
    }
    Ok(())
}

/// What every program sees, and what the order adds to it or puts in its place.
fn environment(asked: Vec<(String, String)>) -> Result<Vec<(String, String)>, String> {
    check_environment(&asked)?;
    let is_asked = |usual: &str| asked.iter().any(|(name, _)| name == usual);
    let usual = [("PATH", PATH), ("HOME", BOX), ("LANG", "C.UTF-8")];
    let usual = usual.into_iter().filter(|(name, _)| !is_asked(name));
    let usual = usual.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut env: Vec<_> = usual.collect();
    env.extend(asked);
    Ok(env)
}

fn check_environment(asked: &[(String, String)]) -> Result<(), String> {
    if asked.len() > ENV_MOST {
        let number = asked.len();
        return Err(format!(
            "{number} variables are too many: {ENV_MOST} is the most"
        ));
    }
    let mut names = BTreeSet::new();
    for (name, value) in asked {
        let shown: String = name.chars().take(NAME_MOST).collect();
        if name.is_empty() || name.len() > NAME_MOST || name.contains(['=', '\0']) {
            return Err(format!(
                "variable {shown:?} has no good name: 1 to {NAME_MOST} bytes without `=` and NUL are"
            ));
        }
        if value.contains('\0') {
            return Err(format!("variable {shown:?} has a NUL in its value"));
        }
        if !names.insert(name.as_str()) {
            return Err(format!("variable {shown:?} is there twice"));
        }
    }
    Ok(())
}

fn check_words(argv: &[String], env: &[(String, String)]) -> Result<(), String> {
    if argv.len() > ARGS_MOST {
        return Err(format!(
            "there are too many arguments: {ARGS_MOST} is the most"
        ));
    }
    if argv.iter().any(|word| word.contains('\0')) {
        return Err("an argument has a NUL in it".into());
    }
    let sizes = argv.iter().map(String::len);
    let sizes = sizes.chain(env.iter().map(|(name, value)| name.len() + 1 + value.len()));
    let mut total = 0;
    for size in sizes {
        if size >= WORD_MOST {
            let most = WORD_MOST >> 10;
            return Err(format!("an argument or variable is longer than {most} KiB"));
        }
        total += size + 1;
    }
    if total > WORDS_MOST {
        let most = WORDS_MOST >> 10;
        return Err(format!(
            "arguments and variables are longer than {most} KiB together"
        ));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn job(change: impl FnOnce(&mut RunOrder)) -> Result<Job, String> {
        let mut order = RunOrder {
            language: "sh".into(),
            script: b"true".to_vec(),
            ..RunOrder::default()
        };
        change(&mut order);
        let config = LocalPoolConfig::new(PathBuf::new());
        Job::of(order, &Languages::new(&[]).unwrap(), &config)
    }

    fn file(path: &str) -> RunFile {
        RunFile {
            path: path.into(),
            contents: b"x".to_vec(),
        }
    }

    #[test]
    fn an_order_becomes_a_program_with_nothing_of_hobs_own() {
        let job = job(|order| {
            order.files = vec![file("./a/b.txt"), file("a/c")];
            order.env = vec![("LANG".into(), "C".into()), ("X".into(), "1".into())];
            order.args = vec!["one".into()];
        });
        let program = job.unwrap().program;
        assert_eq!(program.argv, ["/bin/sh", "-c", "true", "/bin/sh", "one"]);
        let names: Vec<_> = program.env.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["PATH", "HOME", "LANG", "X"]);
        let paths: Vec<_> = program
            .files
            .iter()
            .map(|(path, _)| path.as_path())
            .collect();
        assert_eq!(paths, [Path::new("a/b.txt"), Path::new("a/c")]);
    }

    #[test]
    fn files_stay_in_their_folder() {
        let long = "x".repeat(256);
        let deep = "d/".repeat(16) + "x";
        for path in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a\0b",
            ".",
            "a/",
            &long,
            &deep,
        ] {
            let words = job(|order| order.files = vec![file(path)]).unwrap_err();
            assert!(words.starts_with("file "), "{path:?}: {words}");
        }
        for pair in [["a", "a"], ["a", "./a"], ["a", "a/b"], ["a/b/c", "a/b"]] {
            let files = pair.map(file).to_vec();
            assert!(job(|order| order.files = files).is_err(), "{pair:?}");
        }
        let many = (0..=FILES_MOST).map(|number| file(&number.to_string()));
        let many = many.collect();
        assert!(job(|order| order.files = many).is_err());
    }

    #[test]
    fn the_scripts_own_file_is_not_overwritten() {
        let script = vec![b'#'; 200 << 10];
        let words = job(|order| {
            order.script = script;
            order.files = vec![file("main.sh")];
        });
        assert!(words.unwrap_err().contains("main.sh"));
        // By an argument, there is no such file.
        assert!(job(|order| order.files = vec![file("main.sh")]).is_ok());
    }

    #[test]
    fn what_the_kernel_would_not_take_is_refused() {
        let long = "x".repeat(WORD_MOST);
        let variable = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let wrong: [fn(&mut RunOrder, &str); 4] = [
            |order, long| order.args = vec![long.to_owned()],
            |order, long| order.args = vec![long[..WORD_MOST / 2].to_owned(); 20],
            |order, _| order.args = vec!["a\0b".into()],
            |order, _| order.args = vec![String::new(); ARGS_MOST],
        ];
        for change in wrong {
            assert!(job(|order| change(order, &long)).is_err());
        }
        for (name, value) in [
            ("", "x"),
            ("A=B", "x"),
            ("A\0", "x"),
            ("A", "\0"),
            ("A", &long),
        ] {
            assert!(job(|order| order.env = variable(name, value)).is_err());
        }
        let stdin = vec![0; usize::try_from(STDIN_MOST).unwrap() + 1];
        assert!(job(|order| order.stdin = stdin).is_err());
        let big = RunFile {
            path: "big".into(),
            contents: vec![0; 65 << 20],
        };
        let words = job(|order| order.files = vec![big]).unwrap_err();
        assert!(words.contains("limit `disk` is 64Mi"), "{words}");
    }
}
