//! What is built, what comes of it, and what is refused by name.

use hob_testkit::{Hob, REGISTRY_PROGRAM, has_programs};
use serde_json::{Value, json};
use tar::EntryType;

use super::client::{
    Archive, build, deploy, nothing_is_left, send, server, server_with_registry, sign, stream,
};
use crate::bench::HOB;

const BUSYBOX: &str = "/bin/busybox";
/// A web server with a page that a value chooses, on a base that a value names.
const SITE: &str = "ARG BASE=nothing:1\nFROM ${BASE}\nARG PAGE\nCOPY busybox /bin/httpd\n\
    COPY $PAGE /www/index.html\nUSER 12000\nEXPOSE 8080\n\
    CMD [\"/bin/httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";

fn site(config: &Value) -> Archive {
    let archive = Archive::of(config, SITE).program("context/busybox", BUSYBOX);
    let archive = archive.file("context/pages/mina.html", "Mina");
    // What hob would build itself, were it asked to.
    archive.file("context/handler.py", "def handle(req):\n    return 'no'\n")
}

#[test]
fn what_is_built_is_pushed_and_deployed() {
    if !has_programs(&["buildah", "busybox", REGISTRY_PROGRAM]) {
        return;
    }
    let (hob, registry) = server_with_registry();
    let image = format!("{}/team/hello:1", registry.name());
    let config = json!({
        "image": image, "frontend": "dockerfile.v0", "platforms": [""],
        "buildArgs": {"PAGE": "pages/mina.html", "BASE": "scratch", "ADDITIONAL_PACKAGE": ""},
    });
    let reports = stream(&hob, site(&config));
    let (last, lines) = reports.split_last().unwrap();
    assert!(lines.len() > 3, "{reports:?}");
    for line in lines {
        assert_eq!(line["status"], "in_progress");
        assert_eq!(line["log"].as_array().unwrap().len(), 1);
        assert!(line.get("error").is_none());
    }
    assert_eq!(
        (&last["status"], &last["image"]),
        (&json!("success"), &json!(image))
    );
    let said = last["log"][0].as_str().unwrap();
    assert!(
        said.contains("sha256:") && said.contains("pushed"),
        "{said}"
    );
    // Nobody logged in, but somebody has signed.
    let audit = hob.cli(["audit", "--who", "signed", "-o", "json"]).json();
    assert_eq!(
        (
            &audit[0]["action"],
            &audit[0]["target"],
            &audit[0]["status"]
        ),
        (&json!("image.build"), &json!(image), &json!(200))
    );
    // Another server knows it from the registry alone.
    let other = Hob::start(HOB);
    let trust = ["registry", "trust", "--plain-http", &registry.name()];
    other.cli(trust).ok();
    deploy(&other, "hello", &image);
    assert_eq!(other.get("/function/hello/").expect(200).text(), "Mina");
    nothing_is_left(&hob);
}

#[test]
fn all_in_one_piece_and_for_here_alone() {
    if !has_programs(&["buildah", "busybox"]) {
        return;
    }
    let hob = server();
    let config = json!({
        "image": "reg.example.net/hello:1", "skipPush": true,
        "platforms": ["linux/amd64", "linux/arm64"],
        "buildArgs": {"PAGE": "pages/mina.html", "BASE": "scratch"},
    });
    let report = build(&hob, site(&config));
    assert_eq!(report["status"], "success", "{report}");
    assert_eq!(report["image"], "reg.example.net/hello:1");
    let log = report["log"].to_string();
    assert!(log.contains("linux/arm64: building Dockerfile") && log.contains("not pushed"));
    let listed = hob.cli(["image", "list", "-o", "json"]).json();
    assert!(
        listed.to_string().contains("reg.example.net/hello:1"),
        "{listed}"
    );

    // Without the value there is no such base, and no registry to ask.
    let config = json!({"image": "127.0.0.1:1/hello:2", "buildArgs": {"BASE": "127.0.0.1:1/no:1"}});
    let report = build(&hob, site(&config));
    assert_eq!(report["status"], "failed", "{report}");
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("127.0.0.1:1 cannot be reached"), "{error}");
    // The image is there, and its registry is not.
    let config = json!({"image": "127.0.0.1:1/hello:2", "buildArgs": {"BASE": "scratch", "PAGE": "busybox"}});
    let last = stream(&hob, site(&config)).pop().unwrap();
    assert_eq!(last["status"], "failed");
    let error = last["error"].as_str().unwrap();
    assert!(error.contains("stays on this machine"), "{error}");
    nothing_is_left(&hob);
}

#[test]
fn without_a_tool_the_last_report_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let hob = Hob::builder(HOB).env("PATH", folder.path()).start();
    let set = ["secret", "set", "payload-secret", "--namespace", "openfaas"];
    let command = hob.command().args(set);
    command.stdin("6f1c0d6e0a5b4f0f9a3a").run().ok();
    let config = json!({"image": "x:1", "platforms": ["linux/amd64"]});
    let report = build(&hob, Archive::of(&config, "FROM scratch\n"));
    let error = report["error"].as_str().unwrap();
    assert!(error.contains("apt-get install buildah"), "{error}");
}

#[test]
fn mistakes_of_the_request_are_named() {
    let hob = server();
    let plain = || Archive::default().file("context/Dockerfile", "FROM scratch\n");
    let long = "x".repeat(300 << 10);
    let asked = |config: Value| plain().config(&config.to_string());
    for (archive, expected) in [
        (plain(), "no `com.openfaas.docker.config`"),
        (plain().config("{"), "com.openfaas.docker.config: "),
        (plain().config("{}"), "missing field `image`"),
        (asked(json!({"image": "x:1"})).config("{}"), "there twice"),
        (plain().config(&long), "is over 262144 bytes"),
        (asked(json!({"image": "UPPER"})), "upper-case"),
        (
            asked(json!({"image": "x:1", "platforms": ["linux"]})),
            "OS/ARCH",
        ),
        (
            asked(json!({"image": "x:1", "buildArgs": {"-o": "x"}})),
            "build arg `-o` must be called",
        ),
        (
            asked(json!({"image": "x:1", "buildArgs": {"A": long}})),
            "is over 262144 bytes",
        ),
        (
            asked(json!({"image": "x:1"})).file("com.openfaas.secrets", "- x\n"),
            "line 1 of the sealed secrets",
        ),
    ] {
        let body = archive.bytes();
        let signature = sign(&body);
        let answer = send(&hob, body.clone(), Some(&signature), "*/*").expect(400);
        assert!(answer.text().contains(expected), "{expected}: {answer:?}");
        // Clients that stream show no body of such an answer.
        let answer = send(&hob, body, Some(&signature), "application/x-ndjson").expect(200);
        assert_eq!(answer.json()["status"], "failed");
        assert!(answer.text().contains("error"), "{answer:?}");
    }
    let noise = b"no tar at all".repeat(100);
    let answer = send(&hob, noise.clone(), Some(&sign(&noise)), "*/*").expect(400);
    assert!(answer.text().contains("no tar"), "{answer:?}");
    nothing_is_left(&hob);
}

#[test]
fn an_archive_cannot_leave_its_context() {
    let hob = server();
    let plain = || Archive::of(&json!({"image": "x:1"}), "FROM scratch\n");
    let link = |name: &str, target: &str| plain().entry(EntryType::Symlink, name, target, b"");
    let hard = |target: &str| plain().entry(EntryType::Link, "context/hard", target, b"");
    let outside = "is outside of `context`";
    for (archive, name, rule) in [
        (plain().file("other/file", "x"), "other/file", outside),
        (plain().file("contextual", "x"), "contextual", outside),
        (
            plain().file("context/../../x", "x"),
            "context/../../x",
            "holds `..`",
        ),
        (plain().file("/context/x", "x"), "/context/x", "absolute"),
        (
            link("context/out", "/etc"),
            "context/out",
            "out of the folder",
        ),
        (
            link("context/out", "../x"),
            "context/out",
            "out of the folder",
        ),
        (
            link("context/in", "Dockerfile").file("context/in/x", "x"),
            "context/in/x",
            "through a symlink",
        ),
        (
            hard("com.openfaas.docker.config"),
            "context/hard",
            "hard link",
        ),
        (hard("/etc/passwd"), "context/hard", "hard link"),
        (
            plain().file("context/Dockerfile", "x"),
            "Dockerfile",
            "there twice",
        ),
        (
            plain().entry(EntryType::Char, "context/dev", "", b""),
            "context/dev",
            "device node",
        ),
    ] {
        let report = build(&hob, archive);
        assert_eq!(report["status"], "failed", "{report}");
        let error = report["error"].as_str().unwrap();
        assert!(
            error.contains(name) && error.contains(rule),
            "{name}: {error}"
        );
    }
    let bare = Archive::default().config("{\"image\": \"x:1\"}");
    let report = build(&hob, bare.file("context/handler.py", "x"));
    assert!(
        report.to_string().contains("no Dockerfile in `context`"),
        "{report}"
    );
    nothing_is_left(&hob);
}
