//! What an image is promised.

use std::fs;

use hob_testkit::{assert_eventually, has_programs};
use serde_json::{Value, json};

use super::desk::{Recipe, deploy, hob};
use crate::{bench::write, openfaas::client::ask};

/// A page that says what it sees, by CGI.
const LOOK: &str = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\n\
    id\nenv\necho \"cwd $(cat /proc/1/cgroup >/dev/null 2>&1; cd ..; echo $PWD)\"\n\
    touch /www/x 2>&1\ntouch /tmp/x && echo tmp is writable\n\
    grep Cap /proc/self/status\nls /var/openfaas/secrets\n";

#[test]
fn an_image_runs_as_it_says_and_sees_nothing_else() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let recipe = Recipe {
        env: &[("GREETING", "hello"), ("OVERRIDDEN", "image")],
        user: "app",
        files: &[("www/cgi-bin/look", LOOK)],
        ..Recipe::default()
    };
    let hob = hob(&[recipe]).start();
    hob.command()
        .args(["secret", "set", "key"])
        .stdin("very secret")
        .run()
        .ok();
    deploy(
        &hob,
        "look",
        "local.test/hello:1",
        "secrets = [\"key\"]\n[env]\nOVERRIDDEN = \"settings\"\n",
    );
    assert_eq!(
        hob.get("/function/look").expect(200).text(),
        "hello from an image\n"
    );
    let seen = hob.get("/function/look/cgi-bin/look").expect(200);
    let seen = seen.text();
    for expected in [
        "uid=100(app) gid=101(app) groups=200(extra)",
        "GREETING=hello",
        "OVERRIDDEN=settings",
        "OPENFAAS_NAME=look",
        "OPENFAAS_NAMESPACE=openfaas-fn",
        "Read-only file system",
        "tmp is writable",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "\nkey\n",
    ] {
        assert!(seen.contains(expected), "no {expected} in\n{seen}");
    }

    // Somebody of this machine may have that number.
    let private = fs::metadata(hob.data().join("run/x")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&private.permissions());
    assert_eq!(mode & 0o777, 0o700);
    let inside = hob
        .data()
        .join("run/x/secrets/openfaas-fn/look.100.101/key");
    assert_eq!(fs::read_to_string(inside).unwrap(), "very secret");

    let said = hob.cli(["list", "-o", "json"]).json();
    assert_eq!(said[0]["language"], "image");
    // It sleeps, wakes, and is there again after a restart.
    hob.cli(["scale", "look", "0"]).ok();
    assert_eq!(
        hob.get("/function/look").expect(200).text(),
        "hello from an image\n"
    );
}

#[test]
fn ten_replicas_of_two_functions_share_one_copy() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let two = [
        Recipe::default(),
        Recipe {
            name: "local.test/other:1",
            files: &[("www/other", "other")],
            ..Recipe::default()
        },
    ];
    let hob = hob(&two).start();
    deploy(&hob, "one", "local.test/hello:1", "");
    deploy(&hob, "two", "local.test/other:1", "");
    hob.cli(["scale", "one", "10"]).ok();
    // Two top layers, and the base that both have.
    let layers = fs::read_dir(hob.data().join("layers")).unwrap().count();
    assert_eq!(layers, 3);
    let said = hob.cli(["describe", "one", "-o", "json"]).json();
    let pids = said["instances"].as_array().unwrap().iter();
    let mut inodes: Vec<_> = pids
        .map(|one| {
            // The first process in the cage is hob's own; the program is its child.
            let init = one["pid"].as_u64().unwrap();
            let children = format!("/proc/{init}/task/{init}/children");
            let child = fs::read_to_string(children).unwrap();
            let program = format!("/proc/{}/root/bin/busybox", child.trim());
            std::os::unix::fs::MetadataExt::ino(&fs::metadata(program).unwrap())
        })
        .collect();
    assert_eq!(inodes.len(), 10);
    inodes.dedup();
    assert_eq!(inodes.len(), 1, "every replica runs the same file");
}

#[test]
fn names_and_disk_are_given_back_when_nobody_needs_them() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    deploy(&hob, "hello", "local.test/hello:1", "");
    let listed = hob.cli(["image", "list", "-o", "json"]).json();
    assert_eq!(listed[0]["image"], "local.test/hello:1");
    assert_eq!(listed[0]["functions"][0], "hello");
    assert_eq!(listed[0]["pulled"], false);

    // In use: nothing goes, whatever is asked.
    hob.cli(["image", "prune", "--all"]).ok();
    assert_eq!(hob.cli(["image", "list", "-o", "json"]).json(), listed);
    hob.cli(["image", "remove", "local.test/hello:1"]).ok();
    hob.cli(["image", "prune", "--all"]).ok();
    hob.get("/function/hello").expect(200);

    hob.cli(["remove", "hello"]).ok();
    let layers = || fs::read_dir(hob.data().join("layers")).unwrap().count();
    assert_eq!(layers(), 2);
    assert_eventually!(
        hob.cli(["image", "prune"]).code == 0 && layers() == 0,
        "the layers are given back"
    );
    let error = hob.cli(["image", "remove", "local.test/hello:1"]).fails(3);
    assert!(error.contains("hob image list"), "{error}");
}

#[test]
fn an_image_travels_in_a_file() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let one = hob(&[Recipe::default()]).start();
    let other = hob(&[]).start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hello.tar");
    let file = file.to_str().unwrap();
    let said = one
        .cli(["image", "save", "local.test/hello:1", "--file", file])
        .ok();
    assert!(said.contains("hob image load"), "{said}");
    let said = other.cli(["image", "load", file]).ok();
    assert_eq!(said, "loaded image local.test/hello:1\n");
    deploy(&other, "hello", "local.test/hello:1", "");
    other.get("/function/hello").expect(200);
    let error = one
        .cli(["image", "save", "local.test/none:1", "-f", file])
        .fails(3);
    assert!(error.contains("local.test/none:1"), "{error}");
    let error = one.cli(["image", "load", "/dev/null"]).fails(1);
    assert!(!error.is_empty());
}

#[test]
fn what_cannot_run_is_said_before_anything_changes() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let broken = [
        Recipe::default(),
        Recipe {
            name: "local.test/nobody:1",
            user: "nobody-here",
            ..Recipe::default()
        },
        Recipe {
            name: "local.test/nothing:1",
            entrypoint: &["/bin/missing"],
            ..Recipe::default()
        },
        Recipe {
            name: "local.test/deaf:1",
            entrypoint: &["/bin/sleep", "600"],
            ..Recipe::default()
        },
    ];
    let hob = hob(&broken).start();
    deploy(&hob, "hello", "local.test/hello:1", "");
    for (image, more, expected) in [
        (
            "local.test/nobody:1",
            "",
            "`nobody-here` is not in its etc/passwd",
        ),
        ("local.test/nothing:1", "", "/bin/missing"),
        (
            "local.test/deaf:1",
            "timeout = \"1s\"\n",
            "must serve HTTP on port 8080",
        ),
        (
            "local.test/hello:1",
            "isolation = \"process\"\n",
            "leave `isolation` out",
        ),
        (
            "local.test/hello:1",
            "runtime = \"runc\"\n",
            "leave `runtime` out",
        ),
    ] {
        let text = format!("name = \"hello\"\nnetwork = \"none\"\n{more}");
        let folder = super::desk::settings(&hob, "hello", &text);
        let args = ["deploy", super::desk::text(&folder), "--image", image];
        let error = hob.cli(args).fails(1);
        assert!(error.contains(expected), "{image}: {error}");
        // What ran before still does.
        hob.get("/function/hello").expect(200);
    }
    fs::remove_dir_all(hob.data().with_extension("settings")).unwrap();
    let error = hob.cli(["deploy", "--image", "Not A Name"]).fails(64);
    assert!(error.contains("REGISTRY/NAME:TAG"), "{error}");
}

#[test]
fn an_image_of_a_function_has_what_clients_set_since() {
    if !has_programs(&["go", "busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("greet");
    let handler = "package function\n\nimport (\n\t\"net/http\"\n\t\"os\"\n)\n\n\
        func Handle(w http.ResponseWriter, r *http.Request) {\n\
        \tw.Write([]byte(os.Getenv(\"GREETING\")))\n}\n";
    write(&folder.join("handler.go"), handler);
    write(&folder.join("hob.toml"), "[env]\nGREETING = \"hello\"\n");
    hob.cli(["deploy", super::desk::text(&folder)]).ok();
    let shown = ask(&hob, "GET /system/function/greet", &Value::Null).expect(200);
    let image = shown.json()["image"].clone();
    let asked = json!({"service": "greet", "image": image, "envVars": {"GREETING": "welcome"}});
    ask(&hob, "PUT /system/functions", &asked).expect(202);
    let image = "local.test/greet:2";
    hob.cli(["export", "greet", "--image", image]).ok();
    deploy(&hob, "again", image, "");
    assert_eq!(hob.get("/function/again").expect(200).text(), "welcome");
}

#[test]
fn a_function_is_made_an_image_of() {
    if !has_programs(&["go", "busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("greet");
    super::private::go(&folder, "greetings");
    hob.cli(["deploy", super::desk::text(&folder)]).ok();
    let image = "local.test/exported:1";
    let said = hob.cli(["export", "greet", "--image", image]).ok();
    assert!(said.contains(image) && said.contains("linux/"), "{said}");
    deploy(&hob, "again", image, "");
    assert_eq!(hob.get("/function/again").expect(200).text(), "greetings");
    // An image is only named once more.
    let other = "local.test/other:1";
    hob.cli(["export", "again", "--image", other]).ok();
    let listed = hob.cli(["image", "list", "-o", "json"]).json();
    let digest = |name: &str| {
        let mut images = listed.as_array().unwrap().iter();
        images.find(|one| one["image"] == name).unwrap()["digest"].clone()
    };
    assert_eq!(digest(image), digest(other));
    let error = hob
        .cli([
            "export",
            "again",
            super::desk::text(&here.path().join("out")),
        ])
        .fails(1);
    assert!(error.contains("hob image save"), "{error}");
}
