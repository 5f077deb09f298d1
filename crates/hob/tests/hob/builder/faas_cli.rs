//! The real faas-cli, where this machine has it.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use hob_testkit::{REGISTRY_PROGRAM, has_programs, rare_program};

use super::client::{nothing_is_left, server_with_registry};
use crate::bench::write;

const DOCKERFILE: &str = "FROM scratch\nARG PAGE\nCOPY httpd /bin/httpd\nCOPY function/$PAGE /www/index.html\n\
    USER 12000\nEXPOSE 8080\nCMD [\"/bin/httpd\", \"-f\", \"-p\", \"8080\", \"-h\", \"/www\"]\n";

fn run(program: &Path, folder: &Path, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(folder)
        .env("HOME", folder)
        .output()
        .unwrap()
}

#[test]
fn one_command_builds_pushes_and_deploys() {
    if !has_programs(&["buildah", "busybox", REGISTRY_PROGRAM]) {
        return;
    }
    let Some(program) = rare_program("faas-cli") else {
        return;
    };
    let run = |folder: &Path, args: &[&str]| run(&program, folder, args);
    let (hob, registry) = server_with_registry();
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let (url, name) = (hob.url(), registry.name());
    let template = here.join("template/site");
    write(&template.join("template.yml"), "language: site\n");
    write(&template.join("Dockerfile"), DOCKERFILE);
    fs::copy("/bin/busybox", template.join("httpd")).unwrap();
    write(&here.join("hello/mina.html"), "Mina");
    write(&here.join("key"), "6f1c0d6e0a5b4f0f9a3a");
    write(
        &here.join("stack.yml"),
        &format!(
            "version: 1.0\nprovider:\n  name: openfaas\n  gateway: {url}\nfunctions:\n  hello:\n    lang: site\n    handler: ./hello\n    image: {name}/hello:1\n    build_args:\n      PAGE: mina.html\n    build_secrets:\n      api_key: ./key\n"
        ),
    );
    write(&here.join("wrong"), "wrong secret, wrong secret");
    let login = ["login", "-g", &url, "--password", hob.password()];
    assert!(run(here, &login).status.success());
    let up = |secret: &str| {
        let args = ["up", "--publish", "--remote-builder", &url];
        let more = ["--payload-secret", secret, "--network", "none"];
        run(here, &[&args[..], &more].concat())
    };
    let output = up("key");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        said.contains("STEP 1/") && said.contains("202 Accepted"),
        "{said}"
    );
    assert_eq!(hob.get("/function/hello/").expect(200).text(), "Mina");
    assert!(!up("wrong").status.success());
    nothing_is_left(&hob);
}
