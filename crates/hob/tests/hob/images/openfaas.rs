//! OpenFaaS's own clients.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use hob_testkit::{Answer, Cli, Hob, Net, Outcome, has_programs, rare_program};
use http::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    desk::{Recipe, hob},
    network::NEEDED,
};

fn ask(hob: &Hob, method: Method, path: &str, body: &Value) -> Answer {
    use base64::{Engine, prelude::BASE64_STANDARD};

    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Basic {login}"));
    hob.send(request.body(Bytes::from(body.to_string())).unwrap())
}

#[test]
fn an_image_is_deployed_by_the_calls_of_faas_cli() {
    if !has_programs(&["busybox"]) {
        return;
    }
    let hob = hob(&[Recipe::default()]).start();
    let functions = "/system/functions";
    assert_eq!(
        ask(&hob, Method::GET, functions, &json!(null))
            .expect(200)
            .text(),
        "[]"
    );
    hob.call(Method::GET, functions, "").expect(401);
    let asked = json!({
        "service": "hello", "image": "local.test/hello:1", "network": "none",
        "envProcess": "cat", "envVars": {"A": "b"}, "constraints": ["x"],
        "labels": {"team": "a"}, "annotations": {"topic": "many\nlines"},
        "limits": {"memory": "20m", "cpu": "100m"}, "requests": {"memory": "5Mi"},
    });
    // As it does: update first, and make it where there is none.
    ask(&hob, Method::PUT, functions, &asked).expect(404);
    ask(&hob, Method::POST, functions, &asked).expect(202);
    ask(&hob, Method::POST, functions, &asked).expect(409);
    assert_eq!(
        hob.get("/function/hello").expect(200).text(),
        "hello from an image\n"
    );

    let shown = ask(&hob, Method::GET, "/system/function/hello", &json!(null))
        .expect(200)
        .json();
    for key in [
        "image",
        "envProcess",
        "envVars",
        "constraints",
        "labels",
        "annotations",
        "limits",
        "requests",
    ] {
        assert_eq!(shown[key], asked[key], "{key}");
    }
    assert_eq!(shown["name"], "hello");
    assert_eq!(shown["availableReplicas"], 1);
    let listed = ask(&hob, Method::GET, functions, &json!(null))
        .expect(200)
        .json();
    assert_eq!(listed[0]["name"], "hello");

    for (wrong, expected) in [
        (json!({"image": "x"}), "service: is required"),
        (json!({"service": "hello"}), "image: is required"),
        (
            json!({"service": "a_b", "image": "x"}),
            "must be a valid DNS entry",
        ),
        (json!({"service": "a", "image": "X Y"}), "image `X Y`"),
        (
            json!({"service": "a", "image": "x", "limits": {"memory": "much"}}),
            "memory `much`",
        ),
        (json!("x"), "failed to unmarshal request"),
    ] {
        let answer = ask(&hob, Method::POST, functions, &wrong).expect(400);
        assert!(answer.text().contains(expected), "{wrong}: {answer:?}");
    }
    ask(
        &hob,
        Method::DELETE,
        functions,
        &json!({"functionName": "hello"}),
    )
    .expect(202);
    ask(&hob, Method::GET, "/system/function/hello", &json!(null)).expect(404);
    ask(
        &hob,
        Method::DELETE,
        functions,
        &json!({"functionName": "hello"}),
    )
    .expect(404);
}

/// The real one, at home in a folder of the test's.
struct FaasCli<'a> {
    hob: &'a Hob,
    net: &'a Net,
    program: PathBuf,
    home: TempDir,
}

impl FaasCli<'_> {
    #[track_caller]
    fn says(&self, args: &[&str], expected: &str) {
        let outcome = self.run(args, "");
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(outcome.code == 0 && said.contains(expected), "{outcome:?}");
    }

    fn run(&self, args: &[&str], stdin: &str) -> Outcome {
        let gateway = ["--gateway", &self.hob.url()];
        let cli = Cli::inside(self.net, &self.program)
            .args(args)
            .args(gateway);
        let cli = cli.dir(self.home.path()).env("HOME", self.home.path());
        cli.env("OPENFAAS_CONFIG", self.home.path())
            .stdin(stdin)
            .run()
    }
}

#[test]
fn an_image_is_deployed_and_called_by_faas_cli_itself() {
    if !has_programs(&NEEDED) {
        return;
    }
    let Some(program) = rare_program("faas-cli") else {
        return;
    };
    // It answers every path with what comes, where a folder has no page.
    let echo = Recipe {
        entrypoint: &["/bin/httpd", "-f", "-p", "8080", "-h", "/echo"],
        files: &[("echo/cgi-bin/index.cgi", "#!/bin/sh\necho\ncat\nenv\n")],
        ..Recipe::default()
    };
    // It cannot ask for no network, so it gets one on a machine that the test makes up.
    let net = Arc::new(Net::new());
    let hob = hob(&[echo]).inside(&net).start();
    let home = tempfile::tempdir().unwrap();
    let faas = FaasCli {
        hob: &hob,
        net: &net,
        program,
        home,
    };
    let login = ["login", "--username", "admin", "--password-stdin"];
    let wrong = faas.run(&login, "wrong");
    assert!(wrong.code != 0, "{wrong:?}");
    let list = faas.run(&["list"], "");
    assert!(list.code != 0, "{list:?}");
    let outcome = faas.run(&login, hob.password());
    assert!(outcome.code == 0, "{outcome:?}");

    let image = ["--image", "local.test/hello:1"];
    let more = ["--env", "A=b", "--fprocess", "cat", "--label", "team=a"];
    let deploy = [&["deploy", "--name", "hello"][..], &image, &more].concat();
    faas.says(&deploy, "Accepted");
    // Again, which changes what there is.
    faas.says(&deploy, "Accepted");
    faas.says(&["ready", "hello"], "hello");
    faas.says(&["list"], "hello");
    faas.says(&["describe", "hello"], "local.test/hello:1");
    faas.says(&["describe", "hello"], "team: a");
    let call = ["invoke", "hello"];
    let outcome = faas.run(&call, "Dracula");
    assert_eq!(outcome.code, 0, "{outcome:?}");
    for expected in ["Dracula", "A=b\n", "fprocess=cat\n"] {
        assert!(outcome.stdout.contains(expected), "{outcome:?}");
    }
    faas.says(&["remove", "hello"], "Removing");
    hob.get("/function/hello").expect(404);
    let outcome = faas.run(&["describe", "hello"], "");
    assert!(outcome.code != 0, "{outcome:?}");
}
