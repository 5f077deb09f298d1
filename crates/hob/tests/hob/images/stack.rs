//! Functions of a stack.yml, deployed by hob and by faas-cli.

use std::{path::PathBuf, sync::Arc};

use hob_testkit::{Cli, Hob, Net, Outcome, has_programs, rare_program};
use serde_json::Value;
use tempfile::TempDir;

use super::{
    desk::{Recipe, hob},
    network::NEEDED,
};
use crate::bench::{HOB, handler, write};

const HEAD: &str = "version: 1.0\nprovider:\n  name: openfaas\nfunctions:\n";

/// A function of the image, with some of everything.
const PAGE: &str = r#"  page:
    image: ${REGISTRY:-local.test}/hello:1
    labels: {team: "a"}
    annotations: {topic: other-topic}
    environment: {GREETING: yaml, LEVEL: 3}
    environment_file: [env.yml]
    constraints: ["node=1"]
    limits: {memory: 40m}
    requests: {cpu: 100m}
"#;

/// A server with an image, on a machine of its own, and a folder with a stack.yml.
struct Site {
    hob: Hob,
    net: Arc<Net>,
    folder: TempDir,
}

impl Site {
    fn new(functions: &str) -> Self {
        let net = Arc::new(Net::new());
        let hob = hob(&[Recipe::default()]).inside(&net);
        let hob = hob.env("BUILDAH_ISOLATION", "chroot").start();
        let folder = tempfile::tempdir().unwrap();
        write(
            &folder.path().join("stack.yml"),
            &format!("{HEAD}{functions}"),
        );
        write(
            &folder.path().join("env.yml"),
            "environment: {GREETING: file, MORE: yes}",
        );
        Self { hob, net, folder }
    }

    fn hob(&self, args: &[&str]) -> Outcome {
        self.hob.command().dir(self.folder.path()).args(args).run()
    }

    /// What `hob describe` has of a function that a deploy can change.
    fn described(&self, name: &str) -> [Value; 3] {
        let detail = self.hob.cli(["describe", name, "-o", "json"]).json();
        ["revision", "updated_at", "settings"].map(|key| detail[key].clone())
    }
}

#[test]
fn images_of_a_stack_are_deployed_and_removed() {
    if !has_programs(&NEEDED) {
        return;
    }
    let site = Site::new(&format!(
        "{PAGE}  other:\n    image: local.test/hello:1\n    namespace: dev\n  gone:\n    image: local.test/nothing:1\n    imge: x\n"
    ));
    // The default where a folder has a stack.yml and no function.
    let outcome = site.hob(&["deploy", "--filter", "page"]);
    assert!(
        outcome
            .stderr
            .contains("key `imge` of `gone` means nothing"),
        "{outcome:?}"
    );
    let said = outcome.ok();
    assert!(said.starts_with("page is live at http://"), "{said}");
    let settings = &site.described("page")[2];
    assert_eq!(
        settings["env"],
        serde_json::json!({"GREETING": "file", "LEVEL": "3", "MORE": "yes"})
    );
    assert_eq!(settings["openfaas"]["image"], "local.test/hello:1");
    assert_eq!(settings["openfaas"]["limits"]["memory"], "40m");
    assert!(
        site.hob(&["deploy", "--filter", "page"])
            .ok()
            .contains("page is unchanged")
    );

    // One that fails keeps no other from its turn.
    let outcome = site.hob(&["deploy", "-f", "stack.yml", "-l", "team=b", "-o", "json"]);
    let reports: Value = serde_json::from_str(&outcome.stdout).unwrap();
    let names: Vec<_> = reports
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["gone", "other.dev", "page"]);
    assert!(
        reports[0]["error"].as_str().unwrap().contains("`gone`"),
        "{reports}"
    );
    assert_eq!(reports[1]["changed"], true);
    assert!(
        outcome
            .fails(1)
            .contains("1 of 3 functions could not be deployed")
    );
    assert_eq!(site.described("page")[2]["labels"]["team"], "b");
    let text = site.hob(&["deploy", "--regex", "^(page|other)$"]).ok();
    assert!(text.ends_with("2 of 2 functions deployed\n"), "{text}");

    let removed = site
        .hob(&["remove", "-f", "stack.yml", "--regex", "page|other"])
        .ok();
    assert_eq!(removed, "removed other.dev\nremoved page\n");
    assert!(
        site.hob(&["deploy", "--filter", "nobody"])
            .fails(1)
            .contains("no such function")
    );
    assert!(site.hob(&["deploy", "-e", "A=b"]).code == 64);
}

#[test]
fn faas_cli_finds_unchanged_what_hob_deployed_of_the_same_file() {
    if !has_programs(&NEEDED) || !has_programs(&["python3"]) {
        return;
    }
    let Some(program) = rare_program("faas-cli") else {
        return;
    };
    let site = Site::new(&format!(
        "{PAGE}  hello:\n    lang: python3-http\n    handler: ./hello\n    image: local.test/never-built:1\n    \
         environment: {{GREETING: hi}}\n    labels: {{team: a}}\n    limits: {{memory: 64Mi}}\n"
    ));
    let folder = site.folder.path();
    write(
        &folder.join("hello/handler.py"),
        &handler("import os\nreturn os.environ['GREETING']"),
    );
    let template = "language: python3-http\nfprocess: python index.py\n";
    write(&folder.join("template/python3-http/template.yml"), template);
    let said = site.hob(&["deploy"]).ok();
    assert!(said.ends_with("2 of 2 functions deployed\n"), "{said}");
    assert_eq!(
        site.hob.post("/function/hello", "").expect(200).text(),
        "hi"
    );
    let before = ["hello", "page"].map(|name| site.described(name));

    let home = TempDir::new().unwrap();
    let faas = |args: &[&str], stdin: &str| {
        let cli = Cli::inside(&site.net, &PathBuf::from(&program)).args(args);
        let cli = cli.args(["--gateway", &site.hob.url()]).dir(folder);
        let cli = cli
            .env("HOME", home.path())
            .env("OPENFAAS_CONFIG", home.path());
        cli.stdin(stdin).run()
    };
    faas(
        &["login", "--username", "admin", "--password-stdin"],
        site.hob.password(),
    )
    .ok();
    let list = faas(&["list", "-v"], "").ok();
    // What it compares knows nothing of env.yml, which only the other function has.
    faas(&["diff", "-f", "stack.yml", "--filter", "hello"], "").ok();
    faas(&["deploy", "-f", "stack.yml"], "").ok();
    assert_eq!(["hello", "page"].map(|name| site.described(name)), before);
    assert_eq!(faas(&["list", "-v"], "").ok(), list);
    assert_eq!(
        site.hob.post("/function/hello", "").expect(200).text(),
        "hi"
    );

    // And the other way round.
    site.hob(&["remove", "-f", "stack.yml", "--filter", "page"])
        .ok();
    faas(&["deploy", "-f", "stack.yml", "--filter", "page"], "").ok();
    let said = site.hob(&["deploy"]).ok();
    assert_eq!(said.matches("is unchanged").count(), 2, "{said}");
}

#[test]
fn a_dockerfile_of_a_stack_is_built_unless_its_image_is_meant() {
    if !has_programs(&NEEDED) || !has_programs(&["buildah"]) {
        return;
    }
    let site = Site::new(
        "  made:\n    lang: Dockerfile\n    handler: ./made\n    image: local.test/made:1\n  \
         there:\n    lang: python3\n    handler: ./there\n    image: local.test/hello:1\n    skip_build: true\n",
    );
    let page = |text: &str| write(&site.folder.path().join("made/index.html"), text);
    let file = "FROM local.test/hello:1\nCOPY index.html /www/index.html\n";
    write(&site.folder.path().join("made/Dockerfile"), file);
    // It would be built, and no page of an image would answer.
    let folder = site.folder.path().join("there");
    write(&folder.join("handler.py"), &handler("return 'built'"));
    let seen = |name: &str| {
        let answer = site.hob.get(&format!("/function/{name}/")).expect(200);
        answer.text().to_owned()
    };

    page("first");
    let said = site.hob(&["deploy", "-f", "stack.yml"]).ok();
    assert!(said.ends_with("2 of 2 functions deployed\n"), "{said}");
    assert_eq!(seen("made"), "first");
    assert_eq!(seen("there"), "hello from an image\n");
    let image = &site.described("made")[2]["openfaas"]["image"];
    assert_eq!(image, "local.test/made:1");

    page("second");
    let said = site.hob(&["deploy", "--skip-build"]).ok();
    assert_eq!(said.matches("is unchanged").count(), 2, "{said}");
    assert_eq!(seen("made"), "first");
    site.hob(&["deploy", "--filter", "made"]).ok();
    assert_eq!(seen("made"), "second");
}

#[test]
fn mistakes_in_a_stack_name_the_file_and_the_function() {
    let hob = Hob::start(HOB);
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("made/Dockerfile"), "FROM scratch\n");
    for (function, expected) in [
        (
            "  Bad_Name:\n    image: a:1\n",
            "function `Bad_Name`: name `Bad_Name` is invalid",
        ),
        (
            "  page:\n    image: a:1\n    environment_file: [none.yml]\n",
            "function `page`: environment_file none.yml: no such file",
        ),
        (
            "  page:\n    handler: ./none\n",
            "function `page`: its folder `./none` does not exist, and it has no `image`",
        ),
        (
            "  made:\n    lang: dockerfile\n    handler: ./made\n    image: a:1\n    build_args: {A: b}\n    build_options: [dev]\n",
            "function `made`: build_args, build_options of a Dockerfile are not known to `hob deploy`",
        ),
    ] {
        let fine = "  early:\n    image: local.test/none:1\n";
        let stack = format!("{HEAD}{fine}{function}");
        write(&folder.path().join("stack.yml"), &stack);
        let deploy = hob.command().dir(folder.path()).args(["deploy"]).run();
        // Before anything is tried with the others.
        assert_eq!(deploy.stdout, "");
        let line = deploy.fails(1);
        let start = format!("error: stack.yml: {expected}");
        assert!(line.starts_with(&start), "{line}");
    }
    let remove = hob.command().dir(folder.path());
    write(
        &folder.path().join("stack.yml"),
        &format!("{HEAD}  Bad_Name:\n"),
    );
    let line = remove.args(["remove", "-f", "stack.yml"]).run().fails(64);
    assert!(line.contains("stack.yml: function `Bad_Name`: "), "{line}");
}
