//! Calls that are taken now and made later: what was acknowledged is made, and what became of it
//! can be looked up.

mod callback;
mod crash;
mod limits;
mod made;
mod retry;

use bytes::Bytes;
use hob_testkit::{Answer, Hob, assert_eventually};
use http::Request;
use serde_json::Value;

use crate::bench::{Bench, handler, write};

/// Deploys a Python function whose handler has this body, with this `hob.toml`.
fn deploy(bench: &Bench, name: &str, body: &str, manifest: &str) {
    let folder = bench.folder.path().join(name);
    write(&folder.join("handler.py"), &handler(body));
    write(&folder.join("hob.toml"), manifest);
    bench.deploy(&folder);
}

/// Asks for a call to be made later, under this id.
fn post(hob: &Hob, path: &str, id: &str, body: &str) -> Answer {
    let request = Request::post(format!("/async-function/{path}")).header("x-call-id", id);
    hob.send(request.body(Bytes::from(body.to_owned())).unwrap())
}

/// What became of a call.
fn show(hob: &Hob, id: &str) -> Value {
    hob.cli(["queue", "show", id, "-o", "json"]).json()
}

/// The same once it stands there.
#[track_caller]
fn wait_for(hob: &Hob, id: &str, state: &str) -> Value {
    assert_eventually!(
        show(hob, id)["state"] == state,
        "call {id} is {state}: {}",
        show(hob, id)
    );
    show(hob, id)
}

/// What the queue holds, of all functions together.
fn depth(hob: &Hob, key: &str) -> u64 {
    let list = hob.cli(["queue", "list", "-o", "json"]).json();
    let functions = list["functions"].as_array().unwrap();
    functions.iter().map(|one| one[key].as_u64().unwrap()).sum()
}
