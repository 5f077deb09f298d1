//! Every example, deployed as `make up` does it and called as `examples/calls.toml` says.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use hob_testkit::{Hob, has_programs};
use serde::Deserialize;

use crate::bench::HOB;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Examples {
    example: Vec<Example>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    name: String,
    #[serde(default)]
    network: bool,
    call: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    #[serde(default = "get")]
    method: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    #[serde(default = "ok")]
    status: u16,
    contains: String,
}

fn get() -> String {
    "GET".into()
}

fn ok() -> u16 {
    200
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

#[test]
fn each_one_deploys_and_answers() {
    if !has_programs(&[
        "python3", "pip3", "node", "npm", "go", "cargo", "javac", "curl",
    ]) {
        return;
    }
    let list = fs::read_to_string(folder().join("calls.toml")).unwrap();
    let list: Examples = toml::from_str(&list).unwrap();
    let hob = Hob::start(HOB);
    for example in &list.example {
        let deployed = hob.cli(["deploy".as_ref(), folder().join(&example.name).as_os_str()]);
        if example.network && deployed.code != 0 && std::env::var_os("CI").is_none() {
            eprintln!("NOT TESTED: {}: {}", example.name, deployed.stderr);
            continue;
        }
        deployed.ok();
        for call in &example.call {
            call.make(&format!("{}/function/{}", hob.url(), example.name));
        }
    }
}

#[test]
fn each_one_is_in_the_list_and_the_hello_ones_are_what_new_writes() {
    let check = Command::new("bash").arg(folder().join("check.sh")).output();
    let check = check.unwrap();
    assert!(
        check.status.success(),
        "{}",
        String::from_utf8_lossy(&check.stderr)
    );
}

// === impl Call ===

impl Call {
    /// With curl, since functions may send headers that the strict client does not know.
    fn make(&self, function: &str) {
        let url = format!("{function}{}", self.path);
        let mut curl = Command::new("curl");
        curl.args([
            "-sS",
            "--max-time",
            "60",
            "-w",
            "\n%{http_code}",
            "-X",
            &self.method,
        ]);
        for (name, value) in &self.headers {
            curl.arg("-H").arg(format!("{name}: {value}"));
        }
        if let Some(body) = &self.body {
            curl.args(["--data-binary", body]);
        }
        let answer = curl.arg(&url).output().unwrap();
        let answer = String::from_utf8_lossy(&answer.stdout);
        let (body, status) = answer.rsplit_once('\n').unwrap();
        assert_eq!(
            status,
            self.status.to_string(),
            "{} {url}: {body}",
            self.method
        );
        assert!(
            body.contains(&self.contains),
            "{} {url}: {body}",
            self.method
        );
    }
}
