//! Who may call a function: `auth` through the real executable, and with a real issuer.

mod hydra;
mod real_issuer;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hob_testkit::{Answer, assert_eventually, has_programs};
use http::{Method, Request};
use serde_json::Value;

use crate::bench::{Bench, write};

/// Tells what it was told of its caller, and how large the body was.
const MIRROR: &str = "import json

def handle(event, context):
    fields = {name.lower(): value for name, value in event.headers.items()}
    told = {name: fields[name] for name in fields if name.startswith('x-hob-') or name == 'authorization'}
    return json.dumps(dict(told, method=event.method, size=len(event.body)))
";

/// Deploys a function that mirrors its calls, with this `hob.toml`.
fn mirror(bench: &Bench, name: &str, manifest: &str) {
    let folder = bench.folder.path().join(name);
    write(&folder.join("handler.py"), MIRROR);
    write(&folder.join("hob.toml"), manifest);
    bench.deploy(&folder);
}

fn set_secret(bench: &Bench, name: &str, value: &str) {
    let command = bench.hob.command().args(["secret", "set", name]);
    command.stdin(value).run().ok();
}

/// A call with these fields.
fn call(bench: &Bench, method: Method, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    let body = Bytes::from(body.to_owned());
    bench.hob.send(request.body(body).unwrap())
}

fn sign(key: &str, body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
    let tag = hmac::sign(&key, body.as_bytes());
    format!("sha256={}", hex::encode(tag))
}

#[test]
fn a_function_without_the_secret_of_its_auth_is_not_deployed() {
    let bench = Bench::new();
    let site = bench.site("shop", "<p>hi</p>");
    write(
        &site.join("hob.toml"),
        "auth = { type = \"basic\", secret = \"users\" }\n",
    );
    let deploy = || bench.hob.cli(["deploy", site.to_str().unwrap()]);
    let line = deploy().fails(1);
    assert!(
        line.contains("secret `users` does not exist") && line.contains("create it first"),
        "{line}"
    );
    set_secret(&bench, "users", "ann:one\n");
    deploy().ok();
    // Files are guarded like programs.
    let answer = bench.hob.get("/function/shop/").expect(401);
    assert_eq!(answer.header("www-authenticate"), "Basic realm=\"shop\"");
    let line = bench
        .hob
        .cli(["invoke", "shop", "-X", "GET", "--path", "/"])
        .fails(1);
    assert!(line.contains("-H 'Authorization: "), "{line}");
    let login = "Authorization: Basic YW5uOm9uZQ==";
    let args = ["invoke", "shop", "-X", "GET", "--path", "/", "-H", login];
    assert_eq!(bench.hob.cli(args).ok(), "<p>hi</p>");
    // Without the secret nobody is let in, and the owner reads why.
    bench.hob.cli(["secret", "remove", "users"]).ok();
    let ask = || bench.hob.cli(args);
    assert_eventually!(
        ask().stdout.contains("cannot find out who calls"),
        "{:?}",
        ask()
    );
    assert!(
        bench.hob.log().contains("secret `users` does not exist"),
        "{}",
        bench.hob.log()
    );
    set_secret(&bench, "users", "ann:one\n");
    assert_eventually!(ask().stdout == "<p>hi</p>", "{:?}", ask());
}

#[test]
fn mistakes_in_auth_are_named() {
    let bench = Bench::new();
    let site = bench.site("shop", "<p>hi</p>");
    for (text, expected) in [
        ("auth = \"jwt\"", "write auth = { type = \"jwt\""),
        ("auth = { type = \"basic\" }", "missing field `secret`"),
        (
            "auth = { type = \"token\", rules = [{ path = \"x\" }] }",
            "a path that begins with `/`",
        ),
    ] {
        write(&site.join("hob.toml"), text);
        let line = bench.hob.cli(["deploy", site.to_str().unwrap()]).fails(1);
        assert!(line.contains(expected), "{line}");
    }
}

#[test]
fn signed_webhooks_come_in_now_and_later() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    // The example that GitHub publishes.
    set_secret(&bench, "hook", "It's a Secret to Everybody");
    mirror(
        &bench,
        "hook",
        "auth = { type = \"hmac\", secret = \"hook\" }\n",
    );
    let published = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = [("X-Hub-Signature-256", published), ("X-Hob-Caller", "root")];
    for path in ["/function/hook", "/async-function/hook"] {
        call(&bench, Method::POST, path, &signed, "Hello, World?").expect(401);
        call(&bench, Method::POST, path, &[], "Hello, World!").expect(401);
    }
    let told = call(
        &bench,
        Method::POST,
        "/function/hook",
        &signed,
        "Hello, World!",
    )
    .expect(200);
    let told = told.json();
    assert_eq!(
        (&told["x-hob-caller"], &told["x-hob-auth"]),
        (&"hook".into(), &"hmac".into())
    );
    assert_eq!(told["size"], 13);
    // Taken later, it is told the same, though nobody is asked again.
    let fields = [("X-Call-Id", "signed"), signed[0], signed[1]];
    call(
        &bench,
        Method::POST,
        "/async-function/hook",
        &fields,
        "Hello, World!",
    )
    .expect(202);
    let show = || {
        bench
            .hob
            .cli(["queue", "show", "signed", "-o", "json"])
            .json()
    };
    assert_eventually!(show()["state"] == "done", "the call is made: {}", show());
    assert_eq!(show()["status"], 200, "{}", show());
    // A body that does not fit into one buffer is the same when it arrives.
    let large = "x".repeat(2 << 20);
    let signature = sign("It's a Secret to Everybody", &large);
    let signed = [("X-Hub-Signature-256", signature.as_str())];
    let told = call(&bench, Method::POST, "/function/hook", &signed, &large).expect(200);
    assert_eq!(told.json()["size"], 2 << 20);
    assert!(!bench.hob.log().contains("Everybody"));
}

#[test]
fn the_callers_of_an_asynchronous_call_are_told_when_it_is_made() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    set_secret(&bench, "users", "ann:one\n");
    let folder = bench.folder.path().join("teller");
    let text = format!(
        "{MIRROR}\nmirror = handle\n\ndef handle(event, context):\n    print('told', mirror(event, context), flush=True)\n    return 'ok'\n"
    );
    write(&folder.join("handler.py"), &text);
    write(
        &folder.join("hob.toml"),
        "auth = { type = \"basic\", secret = \"users\" }\n",
    );
    bench.deploy(&folder);
    let fields = [
        ("Authorization", "Basic YW5uOm9uZQ=="),
        ("X_Hob_Caller", "root"),
    ];
    call(&bench, Method::POST, "/async-function/teller", &fields, "x").expect(202);
    let log = || bench.hob.cli(["logs", "teller"]).ok();
    assert_eventually!(log().contains("told {"), "the call is made: {}", log());
    let log = log();
    let told = log
        .lines()
        .find_map(|line| line.split_once("told "))
        .unwrap();
    let told: Value = serde_json::from_str(told.1).unwrap();
    assert_eq!(
        (&told["x-hob-caller"], &told["x-hob-auth"]),
        (&"ann".into(), &"basic".into())
    );
    assert_eq!(told.get("x_hob_caller"), None);
}

#[test]
fn an_answer_is_not_sent_to_a_function_that_its_asker_may_not_call() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    set_secret(&bench, "users", "ann:one\n");
    // Open, and its answers say what they like of themselves.
    let folder = bench.folder.path().join("open");
    let text = "def handle(event, context):\n    return 'x', 200, {'X-Hob-Caller': 'root', 'X_Hob_Auth': 'basic'}\n";
    write(&folder.join("handler.py"), text);
    bench.deploy(&folder);
    let text = format!(
        "{MIRROR}\nmirror = handle\n\ndef handle(event, context):\n    print('told', mirror(event, context), flush=True)\n    return 'ok'\n"
    );
    for (name, manifest) in [
        (
            "closed",
            "auth = { type = \"basic\", secret = \"users\" }\n",
        ),
        ("teller", ""),
    ] {
        let folder = bench.folder.path().join(name);
        write(&folder.join("handler.py"), &text);
        write(&folder.join("hob.toml"), manifest);
        bench.deploy(&folder);
    }
    let ask = |id: &str, door: &str, name: &str| {
        let url = format!("http://gateway.openfaas:8080/{door}/{name}");
        let fields = [("X-Call-Id", id), ("X-Callback-Url", url.as_str())];
        call(&bench, Method::POST, "/async-function/open", &fields, "x").expect(202);
    };
    let show = |id: &str| {
        let args = ["queue", "show", id, "--function", "open", "-o", "json"];
        bench.hob.cli(args).json()
    };
    ask("a", "function", "closed");
    ask("b", "async-function", "closed");
    for id in ["a", "b"] {
        assert_eventually!(
            show(id).to_string().contains("401"),
            "the callback is refused: {}",
            show(id)
        );
    }
    ask("c", "function", "teller");
    let log = |name: &str| bench.hob.cli(["logs", name]).ok();
    assert_eventually!(log("teller").contains("told {"), "{}", log("teller"));
    // What it is told is hob's own word, and there is none of its caller.
    let told = log("teller");
    assert!(
        !told.contains("caller") && !told.contains("hob-auth"),
        "{told}"
    );
    assert!(!told.contains("callback"), "{told}");
    assert!(!log("closed").contains("told"), "{}", log("closed"));
}

#[test]
fn clients_that_cannot_speak_of_auth_do_not_take_it_away() {
    let bench = Bench::new();
    let site = bench.site("shop", "<p>hi</p>");
    let manifest = "auth = \"token\"\nrate = \"600/1m\"\n";
    write(&site.join("hob.toml"), manifest);
    bench.deploy(&site);
    let shown = bench.hob.cli(["describe", "shop"]).ok();
    assert!(
        shown
            .lines()
            .any(|line| line.starts_with("auth") && line.ends_with("token")),
        "{shown}"
    );
    let admin = STANDARD.encode(format!("admin:{}", bench.hob.password()));
    let admin = format!("Basic {admin}");
    let system = |method: Method, path: &str, body: &str| {
        let fields = [("Authorization", admin.as_str())];
        call(&bench, method, path, &fields, body).expect(200)
    };
    let image = system(Method::GET, "/system/function/shop", "").json()["image"].clone();
    let update =
        format!("{{\"service\": \"shop\", \"image\": {image}, \"labels\": {{\"a\": \"b\"}}}}");
    let answer = call(
        &bench,
        Method::PUT,
        "/system/functions",
        &[
            ("Authorization", &admin),
            ("Content-Type", "application/json"),
        ],
        &update,
    );
    assert!(answer.status.is_success(), "{answer:?}");
    let shown = bench.hob.cli(["describe", "shop"]).ok();
    assert!(shown.contains("revision   2"), "{shown}");
    bench.hob.get("/function/shop/").expect(401);
}
