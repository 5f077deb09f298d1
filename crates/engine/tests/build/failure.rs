//! Builds that fail say why, in the tool's own words, and leave nothing.

use std::{fs, time::Duration};

use hob_model::port::BuildError;

use crate::workshop::Workshop;

#[test]
fn the_compiler_speaks_for_itself() {
    let workshop = Workshop::new();
    for (name, file, source, words) in [
        (
            "python",
            "handler.py",
            "def handle(req:\n    pass\n",
            "SyntaxError",
        ),
        ("bash", "handler.sh", "if true; then", "syntax error"),
        (
            "go",
            "handler.go",
            "package function\n\nfunc Handle() { missing() }\n",
            "undefined: missing",
        ),
        (
            "rust",
            "handler.rs",
            "pub fn handle(_: crate::Request) -> crate::Response { 7 }\n",
            "mismatched types",
        ),
        (
            "java",
            "Handler.java",
            "public class Handler { int x = \"\"; }\n",
            "incompatible types",
        ),
    ] {
        let outcome = workshop.build(&workshop.folder(name, &[(file, source)]));
        let output = outcome.output();
        assert!(output.contains(words), "{name}: {output}");
        let error = outcome.error();
        assert!(matches!(error, BuildError::Failed(_)), "{name}: {error:?}");
        assert!(
            error
                .to_string()
                .starts_with(&format!("{name}: building failed")),
            "{error}"
        );
    }
    workshop.assert_no_leftovers();
    assert!(!workshop.data().join("bundles").exists());
}

#[test]
fn a_missing_toolchain_is_one_line() {
    let workshop = Workshop::with(|config| {
        config.path = "/nowhere".into();
        config.home = "/nowhere".into();
    });
    for (language, package) in [
        ("python", "apt-get install python3"),
        ("node", "apt-get install nodejs"),
        ("bash", "apt-get install python3"),
        ("rust", "apt-get install cargo"),
        ("java", "apt-get install default-jdk-headless"),
    ] {
        let error = workshop.build(&workshop.scaffold(language)).error();
        assert!(matches!(error, BuildError::Missing(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.ends_with(package) && !text.contains('\n'), "{text}");
    }
    // Its page needs no tool.
    workshop.revision(&workshop.scaffold("static"));
}

#[test]
fn a_folder_that_nobody_understands_is_told_what_hob_looks_for() {
    let workshop = Workshop::new();
    for (name, files, words) in [
        (
            "empty",
            &[("notes.txt", "")][..],
            "hob looks for handler.sh, handler, handler.go",
        ),
        (
            "both",
            &[("handler.py", ""), ("handler.js", "")],
            "node or python: say which in hob.toml",
        ),
        (
            "unknown",
            &[("hob.toml", "language = \"cobol\"")],
            "language `cobol` is unknown: use one of bash, go",
        ),
        (
            "mismatch",
            &[("hob.toml", "language = \"python\"")],
            "this is no python function: it has no handler.py",
        ),
        (
            "outside",
            &[("hob.toml", "language = \"/etc\"")],
            "is not in the folder",
        ),
        (
            "away",
            &[("hob.toml", "language = \"./template\"")],
            "cannot read template.toml",
        ),
        (
            "typo",
            &[("hob.toml", "tiemout = 3")],
            "unknown field `tiemout`",
        ),
        (
            "procfile",
            &[("Procfile", "worker: x")],
            "web: python3 app.py",
        ),
    ] {
        let error = workshop.build(&workshop.folder(name, files)).error();
        assert!(
            matches!(error, BuildError::Refused(_) | BuildError::Missing(_)),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    workshop.assert_no_leftovers();
}

#[test]
fn a_build_that_does_not_end_is_stopped() {
    let workshop = Workshop::with(|config| config.timeout = Duration::from_millis(500));
    let files = [
        ("handler.sh", "cat"),
        ("hob.toml", "build = \"sleep 1000 & sleep 1000\""),
    ];
    let error = workshop.build(&workshop.folder("endless", &files)).error();
    assert_eq!(
        error.to_string(),
        "bash: running `build` of hob.toml: took too long and was stopped"
    );
    workshop.assert_no_leftovers();
}

#[test]
fn what_a_build_leaves_cannot_reach_outside() {
    let workshop = Workshop::new();
    let victim = workshop.folder("victim", &[("secret", "mine")]);
    for (name, build, words) in [
        ("pipe", "mkfifo pipe", "`pipe`, which is neither"),
        (
            "link",
            "ln -s /etc/passwd page",
            "`page`, which is a link out of the folder",
        ),
        (
            "folder",
            "rm index.html; ln -s / root",
            "`root`, which is a link out",
        ),
    ] {
        let manifest = format!("language = \"static\"\nbuild = \"{build}\"");
        let folder = workshop.folder(
            name,
            &[
                ("index.html", ""),
                ("public/index.html", ""),
                ("hob.toml", &manifest),
            ],
        );
        let error = workshop.build(&folder).error();
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
    // Nor can it read what is not its own, or hob's environment.
    let manifest = format!(
        "build = \"test ! -e {} && test ! -w /usr && test -z \\\"$HOB_TEST_SECRET\\\" && ! touch /function\"",
        victim.join("secret").display()
    );
    let workshop = Workshop::with(|config| {
        config
            .environment
            .insert("HOB_TEST_SECRET".into(), "seen".into());
    });
    workshop
        .revision(&workshop.folder("curious", &[("handler.sh", "cat"), ("hob.toml", &manifest)]));
    assert_eq!(fs::read_to_string(victim.join("secret")).unwrap(), "mine");
}
