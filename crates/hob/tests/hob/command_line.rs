//! What needs no server: help, completion, usage, and the exit codes that scripts rely on.

use crate::bench::{hob, write};

const VERBS: [&str; 23] = [
    "up",
    "install",
    "uninstall",
    "new",
    "deploy",
    "dev",
    "list",
    "describe",
    "invoke",
    "logs",
    "scale",
    "revisions",
    "rollback",
    "remove",
    "secret",
    "export",
    "login",
    "logout",
    "context",
    "audit",
    "status",
    "doctor",
    "completion",
];

#[test]
fn the_help_names_every_verb_and_every_exit_code() {
    let help = hob(["--help"]).run().ok();
    for verb in VERBS {
        let line = format!("\n  {verb} ");
        assert!(help.contains(&line), "no {verb} in {help}");
    }
    for code in ["  0 ", "  1 ", "  3 ", "  4 ", "  5 ", "  64 "] {
        assert!(help.contains(code), "no {code} in {help}");
    }
}

#[test]
fn a_wrong_command_line_ends_with_64_and_says_what_was_meant() {
    for (args, expected) in [
        (&["lst"][..], "list"),
        (&["scale", "hello", "many"], "invalid value 'many'"),
        (&["invoke"], "<NAME>"),
        (&["invoke", "hello", "-H", "no colon"], "NAME: VALUE"),
        (&["up", "--listen", "8080"], "127.0.0.1:8080"),
        (&["up", "--isolation", "vm"], "`container` or `process`"),
        (&["secret", "import"], "--from-pass"),
        (&["completion", "tcsh"], "bash"),
        (&["completion"], "<SHELL>"),
        (&["new", "python"], "<NAME>"),
        (&["deploy", "--nam", "x"], "--name"),
        (&["dev", "--listen", "8080"], "127.0.0.1:8080"),
        (&["list", "-o", "yaml"], "json"),
        (&["describe"], "<NAME>"),
        (&["revisions"], "<NAME>"),
        (&["rollback"], "<NAME>"),
        (&["logs", "hello", "--tail", "all"], "invalid value 'all'"),
        (&["logs", "hello", "--since", "soon"], "`soon` is no time"),
        (&["scale"], "<NAME>"),
        (&["remove"], "<NAMES>"),
        (&["secret", "set"], "<NAME>"),
        (&["secret", "remove"], "<NAMES>"),
        (&["export", "hello"], "<FOLDER>"),
        (&["status", "hello"], "unexpected argument 'hello'"),
        (&["doctor", "--fix"], "unexpected argument '--fix'"),
    ] {
        let said = hob([]).args(args).run();
        assert_eq!(said.code, 64, "{args:?}: {said:?}");
        assert!(said.stderr.contains(expected), "{args:?}: {said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
}

#[test]
fn names_that_are_none_are_refused_before_anybody_is_asked() {
    for args in [
        &["describe", "../x"][..],
        &["logs", "Hello"],
        &["remove", "good", "a/b"],
        &["invoke", "x y"],
        &["scale", "-x-", "1"],
        &["export", "A", "/tmp/x"],
        &["secret", "set", "UPPER"],
        &["secret", "remove", "fine", "../x"],
        &["list", "-n", "Not-Ok"],
    ] {
        let said = hob([]).args(args).run();
        assert_eq!(said.code, 64, "{args:?}: {said:?}");
    }
}

#[test]
fn with_no_server_every_verb_says_how_to_start_one() {
    for args in [
        &["list"][..],
        &["status"],
        &["describe", "hello"],
        &["revisions", "hello"],
        &["rollback", "hello"],
        &["invoke", "hello"],
        &["logs", "hello"],
        &["scale", "hello", "1"],
        &["scale", "hello"],
        &["remove", "hello"],
        &["secret", "list"],
    ] {
        let line = hob([]).args(args).run().fails(4);
        assert_eq!(
            line,
            "error: no hob answers at /nonexistent/hob/run/hob.sock: start it with `hob up`, or log in to one elsewhere with `hob login URL`"
        );
    }
    let line = hob(["list", "--server", "127.0.0.1:1"]).run().fails(4);
    assert!(line.contains("http://127.0.0.1:1"), "{line}");
    let line = hob(["list", "--server", "ftp://box.lan"]).run().fails(64);
    assert!(line.contains("https://HOST:PORT"), "{line}");
    let line = hob(["list", "--server", "https://127.0.0.1:1"])
        .run()
        .fails(4);
    assert!(line.contains("https://127.0.0.1:1"), "{line}");
}

#[test]
fn completion_scripts_know_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = hob(["completion", shell]).run().ok();
        for verb in VERBS {
            assert!(script.contains(verb), "{shell}: no {verb}");
        }
    }
}

#[test]
fn bash_takes_its_completion_script() {
    let script = "source /dev/stdin; COMP_WORDS=(hob des); COMP_CWORD=1; _hob hob des hob; echo \"${COMPREPLY[@]}\"";
    let mut bash = std::process::Command::new("bash")
        .args(["--norc", "-c", script])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let completion = hob(["completion", "bash"]).run().ok();
    std::io::Write::write_all(&mut bash.stdin.take().unwrap(), completion.as_bytes()).unwrap();
    let output = bash.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "describe\n");
}

#[test]
fn languages_are_listed_and_guessed() {
    let list = hob(["new", "--list"]).run().ok();
    let languages = hob(["new", "--list", "-o", "json"]).run().json();
    for language in ["python", "node", "go", "rust", "java", "bash", "static"] {
        assert!(list.contains(language), "{list}");
        let known = languages.as_array().unwrap().iter();
        assert!(known.into_iter().any(|known| known["name"] == language));
    }
    let line = hob(["new", "pyton", "hello"]).run().fails(64);
    assert!(line.contains("did you mean `python`?"), "{line}");
}

#[test]
fn a_new_function_never_overwrites_anything() {
    let folder = tempfile::tempdir().unwrap();
    let mine = folder.path().join("hello/mine.txt");
    write(&mine, "mine");
    let new = |name| hob(["new", "python", name]).dir(folder.path()).run();
    let line = new("hello").fails(1);
    assert!(line.contains("is not empty"), "{line}");
    assert_eq!(
        std::fs::read_dir(mine.parent().unwrap()).unwrap().count(),
        1
    );
    assert_eq!(new("Hello World").code, 64);
    let line = hob(["new", "./nowhere", "mine"])
        .dir(folder.path())
        .run()
        .fails(1);
    assert!(line.contains("./nowhere is no template"), "{line}");
    assert!(!folder.path().join("mine").exists());
}

#[test]
fn a_template_of_ones_own_is_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("mine");
    write(
        &own.join("template.toml"),
        "name = \"mine\"\ndescription = \"my own\"\n[handler]\nfiles = [\"handler.txt\"]\nargv = [\"cat\"]\n",
    );
    write(&own.join("function/handler.txt"), "for {{function}}\n");
    write(&own.join("shim/shim.txt"), "shim\n");
    hob(["new", "mine", "hello"]).dir(folder.path()).run().ok();
    let text = std::fs::read_to_string(folder.path().join("hello/handler.txt")).unwrap();
    assert_eq!(text, "for hello\n");
}

#[test]
fn colours_and_tables_are_plain_when_piped() {
    let list = hob(["new", "--list"]).run().ok();
    assert!(!list.contains('\x1b'), "{list:?}");
    assert!(list.lines().all(|line| line == line.trim_end()), "{list:?}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut child = hob(["completion", "bash"])
        .into_command()
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
