//! The API asked by its own OpenAPI document: for what that allows, and for much that it forbids.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use hob_testkit::{Hob, Net, has_programs};
use http::Request;

use crate::bench::{HOB, handler, write};

/// `make test` installs the first.
const NEEDED: [&str; 5] = ["schemathesis", "python3", "ip", "unshare", "nsenter"];
/// How it asks, and what it does not know of hob.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hob/openapi");
/// What ends the function, the secret, the namespace and the call that all else is tried on.
const ENDS: &str = "_(remove|forget)$";

#[test]
fn the_api_is_what_its_document_says() {
    if !has_programs(&NEEDED) {
        return;
    }
    // No image is fetched from the world, and no registry of the world hears of this.
    let net = Arc::new(Net::new());
    let hob = Hob::builder(HOB).inside(&net).start();
    let folder = tempfile::tempdir().unwrap();
    // The names are those of the document's examples.
    let hello = folder.path().join("hello");
    write(&hello.join("handler.py"), &handler("print('called')"));
    write(&hello.join("hob.toml"), "schedule = \"@yearly\"\n");
    hob.cli(["deploy", hello.to_str().unwrap()]).ok();
    let set = hob.command().args(["secret", "set", "api-key"]);
    set.stdin("x").run().ok();
    hob.cli(["namespace", "create", "hello"]).ok();
    hob.get("/function/hello").expect(200);
    let call = Request::post("/async-function/hello").header("x-call-id", "a-call");
    hob.send(call.body(Bytes::new()).unwrap()).expect(202);

    for which in [
        "--exclude-operation-id-regex",
        "--include-operation-id-regex",
    ] {
        let output = net
            .command("schemathesis")
            .args(["--no-color", "--config-file"])
            .arg(Path::new(FOLDER).join("schemathesis.toml"))
            .args(["run", &format!("{}/openapi.json", hob.url()), which, ENDS])
            .env("PYTHONPATH", FOLDER)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOB_PASSWORD", hob.password())
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}{output:?}");
        assert!(said.contains("No issues found"), "{said}");
    }
}
