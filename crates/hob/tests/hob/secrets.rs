//! Secrets: exact bytes in, files for the functions that may, and never shown.

use std::{fs, os::unix::fs::PermissionsExt};

use hob_testkit::{assert_eventually, has_programs};

use crate::bench::{Bench, write};

const READ_KEY: &str =
    "import os\nreturn open(os.environ['HOB_SECRETS'] + '/api-key', 'rb').read()";

#[test]
fn a_function_reads_the_exact_bytes_and_sees_an_update() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    let value = b"p4ss\0word\r\n".to_vec();
    let set = |value: &[u8]| {
        let command = bench.hob.command().args(["secret", "set", "api-key"]);
        command.stdin(value).run().ok()
    };
    assert_eq!(set(&value), "secret api-key set\n");
    let folder = bench.python("reader", READ_KEY);
    write(&folder.join("hob.toml"), "secrets = [\"api-key\"]\n");
    bench.deploy(&folder);
    let read = || bench.hob.post("/function/reader", "").expect(200).body;
    assert_eq!(read(), value);

    assert_eq!(set(b"second"), "secret api-key updated\n");
    assert_eventually!(
        read() == "second"[..],
        "the running replica reads the update"
    );

    // They outlive the function and the server.
    bench.hob.cli(["remove", "reader"]).ok();
    bench.hob.stop();
    bench.hob.restart();
    let list = bench.hob.cli(["secret", "list", "-o", "json"]).json();
    assert_eq!(list[0]["name"], "api-key", "{list}");
    bench.deploy(&folder);
    assert_eq!(
        bench.hob.post("/function/reader", "").expect(200).text(),
        "second"
    );
}

#[test]
fn no_value_is_ever_shown_or_lies_about_in_the_clear() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let value = "correct-horse-battery-staple";
    hob.command()
        .args(["secret", "set", "api-key"])
        .stdin(value)
        .run()
        .ok();
    let listed = hob.cli(["secret", "list"]);
    let json = hob.cli(["secret", "list", "-o", "json"]);
    for said in [listed, json] {
        assert!(said.stdout.contains("api-key"), "{said:?}");
        assert!(!said.stdout.contains(value) && !said.stderr.contains(value));
    }
    assert!(!hob.log().contains(value));
    let mut folders = vec![hob.data().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if path.is_file() {
                let text = fs::read(&path).unwrap();
                let text = String::from_utf8_lossy(&text);
                assert!(!text.contains(value), "{}", path.display());
            }
        }
    }
    let file = hob.data().join("secrets/openfaas-fn/api-key.age");
    assert!(file.is_file());
    let identity = fs::metadata(hob.data().join("identity.txt")).unwrap();
    assert_eq!(identity.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_value_that_is_none_leaves_the_one_before() {
    if !has_programs(&["age"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let set = |args: &[&str], value: &[u8]| {
        let command = hob.command().args(["secret", "set", "key"]);
        command.args(args).stdin(value).run()
    };
    set(&["--trim"], b"good\n").ok();
    // `pass show typo | hob secret set key` must not cost the key.
    let line = set(&[], b"").fails(1);
    assert!(
        line.contains("`key` is empty; nothing was changed"),
        "{line}"
    );
    let line = set(&["--trim"], b"\n").fails(1);
    assert!(line.contains("is empty"), "{line}");
    let line = set(&[], &vec![b'x'; (1 << 20) + 1]).fails(1);
    assert!(line.contains("larger than 1 MiB"), "{line}");
    let line = set(&["--from-file", "/nonexistent"], b"").fails(1);
    assert!(line.contains("/nonexistent"), "{line}");
    let line = hob.cli(["secret", "remove", "kei"]).fails(3);
    assert!(line.contains("did you mean `key`?"), "{line}");

    // Ordinary tools read it.
    let output = std::process::Command::new("age")
        .arg("-d")
        .arg("-i")
        .arg(hob.data().join("identity.txt"))
        .arg(hob.data().join("secrets/openfaas-fn/key.age"))
        .output()
        .unwrap();
    assert_eq!(output.stdout, b"good", "{output:?}");

    assert_eq!(
        hob.cli(["secret", "remove", "key"]).ok(),
        "removed secret key\n"
    );
    hob.cli(["secret", "remove", "key"]).fails(3);
}

#[test]
fn a_namespace_keeps_its_own_secrets() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let set = hob
        .command()
        .args(["secret", "set", "key", "-n", "staging"]);
    set.stdin("x").run().ok();
    assert!(!hob.cli(["secret", "list"]).ok().contains("key"));
    assert!(
        hob.cli(["secret", "list", "-n", "staging"])
            .ok()
            .contains("key")
    );
}

#[test]
fn a_folder_is_imported_and_what_does_not_fit_is_said() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = bench.folder.path().join("old");
    write(&folder.join("mail/token"), "one\n");
    write(&folder.join("db-password"), "two");
    write(&folder.join("Not Fit"), "three");
    write(&folder.join("empty"), "");
    let said = hob.cli(["secret", "import", "--from-dir", folder.to_str().unwrap()]);
    assert_eq!(
        said.stdout,
        "secret db-password set\nsecret mail-token set\n"
    );
    assert!(said.stderr.contains("skipped Not Fit"), "{said:?}");
    assert!(said.stderr.contains("skipped empty"), "{said:?}");
    said.fails(1);
}

#[test]
fn pass_is_imported_by_its_prefix() {
    let bench = Bench::new();
    let here = bench.folder.path();
    // A stand-in with the manners of the real one, which would need a key with no passphrase.
    let pass = here.join("bin/pass");
    write(
        &pass,
        "#!/bin/sh\n[ \"$1 $2\" = 'show --' ] && exec cat \"$PASSWORD_STORE_DIR/$3.gpg\"\nexit 2\n",
    );
    fs::set_permissions(&pass, PermissionsExt::from_mode(0o755)).unwrap();
    write(&here.join("store/faasd/api/key.gpg"), "from pass\n");
    write(&here.join("store/faasd/token.gpg"), "t");
    write(&here.join("store/other/private.gpg"), "not asked for");
    write(&here.join("store/.gpg-id"), "me");
    let import = |prefix: &str| {
        let path = format!("{}:/usr/bin:/bin", here.join("bin").display());
        let command = bench.hob.command().env("PATH", path);
        let command = command.env("PASSWORD_STORE_DIR", here.join("store"));
        command
            .args(["secret", "import", "--from-pass", prefix])
            .run()
    };
    let said = import("faasd").ok();
    assert_eq!(said, "secret api-key set\nsecret token set\n");
    let said = import("faasd/").ok();
    assert_eq!(said, "secret api-key updated\nsecret token updated\n");
    let line = import("fasd").fails(1);
    assert!(
        line.contains("`fasd`") && line.contains("pass ls"),
        "{line}"
    );
}
