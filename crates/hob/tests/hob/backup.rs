//! What is backed up comes back on an empty machine, and whatever goes wrong leaves nothing.

mod damage;
mod hostile;
mod load;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use hob_testkit::{Cli, Hob, Outcome, assert_eventually, has_programs};
use http::Request;
use tempfile::TempDir;

use crate::{
    bench::{Bench, HOB, handler, write},
    images::desk,
};

/// Waits until the secret says `go`, then says in its log which call it was.
const GATED: &str = "import os, time\nsecret = os.environ['HOB_SECRETS'] + '/gate'\nwhile open(secret).read() != 'go':\n    time.sleep(0.02)\nprint('made', req.headers['x-call-id'], flush=True)\nreturn 'went'";

/// Writes a backup of `hob` beside its functions.
pub(super) fn back_up(hob: &Hob, folder: &Path, args: &[&str]) -> PathBuf {
    let file = folder.join("backup.tar.gz");
    let command = hob.command().args(["backup".as_ref(), file.as_os_str()]);
    command.args(args).args(["--force"]).run().ok();
    file
}

pub(super) fn restore(file: &Path, data: &Path) -> Outcome {
    let command = Cli::new(Path::new(HOB)).env("HOB_DATA", data);
    command.args(["restore".as_ref(), file.as_os_str()]).run()
}

/// An empty data directory.
pub(super) fn empty() -> TempDir {
    let mut folder = tempfile::Builder::new();
    let readable = fs::Permissions::from_mode(0o755);
    folder.prefix("hob-test-").permissions(readable);
    folder.tempdir().unwrap()
}

/// A server on what `file` holds.
fn revive(file: &Path) -> Hob {
    let data = empty();
    restore(file, data.path()).ok();
    Hob::builder(HOB).data(data).start()
}

fn set_secret(hob: &Hob, name: &str, value: &str) {
    let command = hob.command().args(["secret", "set", name]);
    command.stdin(value).run().ok();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Files by name, with their modes.
fn tree(folder: &Path) -> Vec<(PathBuf, u32)> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = open.pop() {
        let name = path.strip_prefix(folder).unwrap().to_owned();
        found.push((name, mode(&path)));
        if path.is_dir() && !path.is_symlink() {
            let entries = fs::read_dir(&path).unwrap();
            open.extend(entries.map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[test]
fn everything_comes_back_and_answers() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    set_secret(hob, "gate", "hold");
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let folder = bench.folder.path().join("gated");
    write(&folder.join("handler.py"), &handler(GATED));
    write(
        &folder.join("hob.toml"),
        "secrets = [\"gate\"]\nschedule = \"0 7 * * *\"\n[async]\nconcurrency = 1\n",
    );
    bench.deploy(&folder);
    hob.cli(["namespace", "create", "staging"]).ok();
    hob.cli(["ca", "init"]).ok();
    for id in ["one", "two", "three"] {
        let request = Request::post("/async-function/gated").header("x-call-id", id);
        hob.send(request.body(Bytes::new()).unwrap()).expect(202);
    }
    let file = bench.folder.path().join("b.tar.gz");
    let said = hob.command().args(["backup".as_ref(), file.as_os_str()]);
    let said = said.run();
    assert!(said.stderr.contains("holds the key"), "{said:?}");
    assert!(said.ok().contains("holds it all"));
    assert_eq!(mode(&file), 0o600);
    set_secret(hob, "gate", "go");

    let data = empty();
    let said = restore(&file, data.path()).ok();
    assert!(
        said.contains("2 functions, 1 secret, 3 waiting calls"),
        "{said}"
    );
    for part in ["bundles", "secrets", "pki"] {
        let (former, new) = (hob.data().join(part), data.path().join(part));
        assert_eq!(tree(&new), tree(&former), "{part}");
    }
    for private in ["hob.db", "identity.txt"] {
        assert_eq!(mode(&data.path().join(private)), 0o600);
    }

    let new = Hob::builder(HOB).data(data).start();
    let banner = new.banner().join("\n");
    assert!(
        banner.contains("functions  2") && !banner.contains("password"),
        "{banner}"
    );
    let page = new.get("/function/welcome/").expect(200);
    assert_eq!(page.text(), "<p>hi</p>");
    let modified = |hob: &Hob| {
        let page = hob.get("/function/welcome/").expect(200);
        page.header("last-modified").to_owned()
    };
    assert_eq!(modified(&new), modified(hob));
    let schedules = new.cli(["schedule", "list", "-o", "json"]).json();
    assert_eq!(schedules[0]["schedule"], "0 7 * * *", "{schedules}");
    assert!(new.cli(["namespace", "list"]).ok().contains("staging"));

    // The secret was sealed with the value of then; the calls that wait are made with the next.
    set_secret(&new, "gate", "go");
    assert_eq!(new.post("/function/gated", "").expect(200).text(), "went");
    assert_eventually!(
        ["one", "two", "three"].iter().all(|id| new
            .cli(["logs", "gated"])
            .ok()
            .contains(&format!("made {id}"))),
        "the waiting calls are made"
    );
}

#[test]
fn a_function_of_an_image_comes_back_with_no_network_or_is_said_to_lack_it() {
    if !has_programs(&["busybox", "nft"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hob = desk::hob(&[desk::Recipe::default()]).start();
    let image = "local.test/hello:1";
    hob.cli(["deploy", "--image", image, "--name", "hello"])
        .ok();
    let file = back_up(&hob, folder.path(), &[]);
    let lean = folder.path().join("lean.tar.gz");
    let command = hob.command().args(["backup".as_ref(), lean.as_os_str()]);
    command.args(["--no-images"]).run().ok();
    drop(hob);

    let new = revive(&file);
    let page = new.get("/function/hello/").expect(200);
    assert_eq!(page.text(), "hello from an image\n");
    assert!(new.cli(["image", "list"]).ok().contains(image));
    drop(new);

    let data = empty();
    let said = restore(&lean, data.path());
    assert!(
        said.stderr
            .contains("hello lacks image local.test/hello:1: deploy it again"),
        "{said:?}"
    );
    said.ok();
}

#[test]
fn without_the_key_the_secrets_stay_shut_until_it_is_put_back() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    set_secret(&bench.hob, "gate", "go");
    let folder = bench.python("gated", GATED);
    write(&folder.join("hob.toml"), "secrets = [\"gate\"]\n");
    bench.deploy(&folder);
    let file = back_up(&bench.hob, bench.folder.path(), &["--no-identity"]);

    let data = empty();
    let said = restore(&file, data.path());
    let identity = data.path().join("identity.txt");
    let cure = format!("install -m 600 identity.txt {}", identity.display());
    assert!(said.stderr.contains(&cure), "{said:?}");
    said.ok();
    assert!(!identity.exists());
    let mut new = Hob::builder(HOB).data(data).start();
    new.post("/function/gated", "").expect(502);
    // No new key is made in its place.
    let command = new.command().args(["secret", "set", "other"]).stdin("x");
    let error = command.run().fails(1);
    assert!(error.contains("identity.txt` is missing"), "{error}");
    new.stop();
    fs::copy(bench.hob.data().join("identity.txt"), identity).unwrap();
    new.restart();
    assert_eq!(new.post("/function/gated", "").expect(200).text(), "went");
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_meant() {
    let bench = Bench::new();
    let file = bench.folder.path().join("precious");
    fs::write(&file, "mine").unwrap();
    let shown = file.display().to_string();
    let line = bench.hob.cli(["backup", &shown]).fails(1);
    assert!(line.contains("--force"), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    bench.hob.cli(["backup", &shown, "--force"]).ok();
    restore(&file, &bench.folder.path().join("new")).ok();
    let left = fs::read_dir(bench.folder.path()).unwrap().count();
    assert_eq!(left, 2, "only the backup and what came of it");
    let tmp = fs::read_dir(bench.hob.data().join("tmp")).unwrap().count();
    assert_eq!(tmp, 0);
}

#[test]
fn over_tcp_a_backup_goes_without_the_key() {
    let bench = Bench::new();
    set_secret(&bench.hob, "key", "x");
    let file = bench.folder.path().join("b.tar.gz");
    let remote = |args: &[&str]| {
        let command = bench.hob.command().env("HOB_SERVER", bench.hob.url());
        let command = command.env("HOB_PASSWORD", bench.hob.password());
        let command = command.args(["backup".as_ref(), file.as_os_str()]);
        command.args(args).run()
    };
    let line = remote(&[]).fails(5);
    assert!(line.contains("--no-identity"), "{line}");
    assert!(!file.exists());
    remote(&["--no-identity"]).ok();
    let data = empty();
    restore(&file, data.path()).ok();
    assert!(data.path().join("secrets/openfaas-fn/key.age").exists());
    assert!(!data.path().join("identity.txt").exists());
    bench.hob.get("/hob/v1/backup?identity=false").expect(401);
}

#[test]
fn ordinary_tools_read_a_backup() {
    use std::process::Command;

    if !has_programs(&["tar", "sqlite3", "age"]) {
        return;
    }
    let bench = Bench::new();
    set_secret(&bench.hob, "key", "open sesame");
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    let folder = bench.folder.path().join("unpacked");
    fs::create_dir(&folder).unwrap();
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        let output = command.current_dir(&folder).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run("tar", &["-xzf", file.to_str().unwrap()]);
    let names = run("sqlite3", &["hob.db", "SELECT name FROM functions"]);
    assert_eq!(names, "welcome\n");
    let sealed = "secrets/openfaas-fn/key.age";
    let value = run("age", &["-d", "-i", "identity.txt", sealed]);
    assert_eq!(value, "open sesame");
}
