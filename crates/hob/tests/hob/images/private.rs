//! A registry behind the machine's own certificate authority and a password.

use std::path::{Path, PathBuf};

use hob_testkit::{Cli, Hob, REGISTRY_PROGRAM, Registry, has_programs};
use tempfile::TempDir;

use super::desk::{deploy, text};
use crate::bench::{HOB, write};

const PASSWORD: &str = "open sesame";

/// The authority's data directory, and the registry that it has signed for.
struct Private {
    authority: TempDir,
    registry: Registry,
}

impl Private {
    fn start() -> Self {
        let authority = tempfile::tempdir().unwrap();
        for args in [&["ca", "init"][..], &["ca", "issue", "127.0.0.1"]] {
            let command = Cli::new(Path::new(HOB)).args(args);
            command.env("HOB_DATA", authority.path()).run().ok();
        }
        let servers = authority.path().join("pki/servers");
        let file = |kind: &str| servers.join(format!("127.0.0.1.{kind}"));
        Self {
            registry: Registry::private(&file("pem"), &file("key"), "ada", PASSWORD),
            authority,
        }
    }

    fn certificate(&self) -> PathBuf {
        self.authority.path().join("pki/ca.pem")
    }

    fn log_in(&self, hob: &Hob, password: &str) -> hob_testkit::Outcome {
        let name = self.registry.name();
        let args = ["registry", "login", &name, "--username", "ada"];
        hob.command().args(args).stdin(password).run()
    }
}

/// A function in Go that says this.
pub(super) fn go(folder: &Path, greeting: &str) {
    let handler = format!(
        "package function\n\nimport \"net/http\"\n\nfunc Handle(w http.ResponseWriter, r *http.Request) {{\n\tw.Write([]byte(\"{greeting}\"))\n}}\n"
    );
    write(&folder.join("handler.go"), &handler);
}

#[test]
fn from_a_folder_over_a_private_registry_to_an_answer() {
    if !has_programs(&["go", REGISTRY_PROGRAM, "htpasswd"]) {
        return;
    }
    let private = Private::start();
    let here = tempfile::tempdir().unwrap();
    let folder = here.path().join("hello");
    go(&folder, "hello over a registry");
    let image = format!("{}/team/hello:1", private.registry.name());
    let builder = Hob::start(HOB);
    let build = || {
        let args = [
            "build",
            text(&folder),
            "--image",
            &image,
            "--push",
            "-o",
            "json",
        ];
        builder.cli(args)
    };

    // One refusal after the other, each with its cure.
    let error = build().fails(1);
    assert!(error.contains("hob registry trust CA.pem"), "{error}");
    builder
        .cli(["registry", "trust", text(&private.certificate())])
        .ok();
    let error = build().fails(1);
    assert!(error.contains("asks for a login"), "{error}");
    let error = private.log_in(&builder, "wrong").fails(1);
    assert!(
        error.contains("does not accept") && error.contains("`ada`"),
        "{error}"
    );
    assert!(!error.contains("wrong"), "the password is shown: {error}");
    // A name without a dot and a port is part of an image's name, and belongs to somebody else.
    let args = ["registry", "login", "nas", "--username", "ada"];
    let error = builder.command().args(args).stdin(PASSWORD).run().fails(1);
    assert!(error.contains("a host and a port"), "{error}");
    private.log_in(&builder, PASSWORD).ok();
    let built = build().json();
    assert_eq!(built["pushed"], true);
    assert!(built["sent"].as_u64().unwrap() > 0, "{built}");
    assert_eq!(build().json()["sent"], 0, "nothing has changed");
    let listed = builder.cli(["registry", "list", "-o", "json"]).json();
    assert!(!listed.to_string().contains(PASSWORD), "{listed}");

    let user = Hob::start(HOB);
    user.cli(["registry", "trust", text(&private.certificate())])
        .ok();
    private.log_in(&user, PASSWORD).ok();
    deploy(&user, "hello", &image, "");
    let answer = user.get("/function/hello").expect(200);
    assert_eq!(answer.text(), "hello over a registry");

    let name = private.registry.name();
    let args = ["deploy", "--image", &format!("{name}/team/hello:2")];
    let error = user.cli(args).fails(1);
    assert!(error.contains("has no image"), "{error}");

    let arm = format!("{name}/team/hello:arm");
    let args = [
        "build",
        text(&folder),
        "--image",
        &arm,
        "--push",
        "--platform",
        "linux/arm64",
    ];
    builder.cli(args).ok();
    let error = user.cli(["deploy", "--image", &arm]).fails(1);
    assert!(error.contains("only for linux/arm64"), "{error}");

    // Passwords are in sealed files only.
    let everything = std::fs::read_to_string(user.data().join("registries.toml")).unwrap();
    assert!(!everything.contains(PASSWORD) && !user.log().contains(PASSWORD));

    // The registry is away: what is here does.
    drop(private.registry);
    let said = user
        .command()
        .args(["deploy", "--image", &image, "--name", "again"]);
    let folder = super::desk::settings(&user, "again", "network = \"none\"\n");
    let said = said.args([text(&folder)]).run();
    std::fs::remove_dir_all(user.data().with_extension("settings")).unwrap();
    assert!(
        said.stderr.contains("using the copy on this machine"),
        "{said:?}"
    );
    assert_eq!(
        user.get("/function/again").expect(200).text(),
        "hello over a registry"
    );
}

#[test]
fn a_login_of_docker_is_used_where_hob_has_none() {
    if !has_programs(&["busybox", REGISTRY_PROGRAM, "htpasswd"]) {
        return;
    }
    use base64::{Engine, prelude::BASE64_STANDARD};

    let private = Private::start();
    let name = private.registry.name();
    let docker = tempfile::tempdir().unwrap();
    let auth = BASE64_STANDARD.encode(format!("ada:{PASSWORD}"));
    let config = format!("{{\"auths\": {{\"{name}\": {{\"auth\": \"{auth}\"}}}}}}");
    write(&docker.path().join("config.json"), &config);
    let user = super::desk::hob(&[])
        .env("DOCKER_CONFIG", docker.path())
        .start();
    user.cli([
        "registry",
        "trust",
        text(&private.certificate()),
        "--registry",
        &name,
    ])
    .ok();
    // It gets in, and is told that there is nothing.
    let args = ["deploy", "--image", &format!("{name}/none:1")];
    let error = user.cli(args).fails(1);
    assert!(error.contains("has no image"), "{error}");
    user.cli(["registry", "forget", &name]).ok();
    let error = user.cli(args).fails(1);
    assert!(error.contains("hob registry trust"), "{error}");
    let error = user.cli(["registry", "forget", &name]).fails(3);
    assert!(error.contains("hob registry list"), "{error}");
}
