//! OpenFaaS's libraries for Go and Python, where `make test` could get them.

use std::{path::PathBuf, process::Command};

use hob_testkit::{has_programs, rare_program};
use serde_json::Value;

use super::client::ask;
use crate::bench::Bench;

/// Runs a program that goes through a library, over a folder's own image name.
fn run(mut program: Command) {
    let bench = Bench::new();
    let hob = &bench.hob;
    let folder = bench.python("who", "import os\nreturn os.environ.get('WHO', 'nobody')");
    bench.deploy(&folder);
    let listed = ask(hob, "GET /system/functions", &Value::Null).json();
    let image = listed[0]["image"].as_str().unwrap();
    let output = program.args([&hob.url(), hob.password(), image]).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.ends_with("done\n"),
        "{output:?}\n{}",
        hob.log()
    );
}

#[test]
fn the_library_for_go_is_served() {
    if !has_programs(&["python3"]) {
        return;
    }
    // Built from `sdk/main.go`.
    if let Some(program) = rare_program("openfaas-go-sdk") {
        run(Command::new(program));
    }
}

#[test]
fn the_library_for_python_is_served() {
    if !has_programs(&["python3"]) {
        return;
    }
    // Python with the library on its path.
    if let Some(program) = rare_program("openfaas-python-sdk") {
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(program);
        command.arg(script.join("tests/hob/openfaas/sdk/check.py"));
        run(command);
    }
}
