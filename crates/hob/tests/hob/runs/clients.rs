//! Programs that speak Piston's API.

use std::process::Command;

use hob_testkit::{has_programs, rare_program};
use serde_json::json;

use super::{has_sandboxes, json_request, sandboxed};

/// What `ultra-piston` finds and has run, a line each.
const CLIENT: &str = "\
import sys
from ultra_piston import PistonClient, File
from ultra_piston.errors import BadRequestError
client = PistonClient(base_url=sys.argv[1], rate_limit=0)
print(sorted(one.language for one in client.get_runtimes() if one.language in ('bash', 'python')))
done = client.post_execute(language='py', version='3.x', file=File(content='print(input())'), stdin='hi')
print(done.language, done.run.stdout, done.run.code, done.run.signal)
try:
    client.post_execute(language='cobol', version='*', file=File(content=''))
except BadRequestError as error:
    print(error.status_code)
";

#[test]
fn a_program_gets_the_answer_of_piston() {
    if !has_sandboxes() || !has_programs(&["python3"]) {
        return;
    }
    let bench = sandboxed("[sandbox.limits]\ntime = \"5s\"\n");
    let order = json!({
        "language": "python3", "version": ">=3 <4", "args": ["a", "b"],
        "files": [
            {"name": "app.py", "content": "import sys, other; print(sys.argv[1:], other.X); sys.exit(2)"},
            {"name": "other.py", "content": "X = 7"},
        ],
    });
    let answer = bench
        .hob
        .send(json_request("/api/v2/piston/execute", &order))
        .expect(200);
    let answer = answer.json();
    let run = &answer["run"];
    assert_eq!(run["stdout"], "['a', 'b'] 7\n", "{answer}");
    assert_eq!(
        (&run["code"], &run["status"]),
        (&json!(2), &json!("RE")),
        "{answer}"
    );
    let order = json!({
        "language": "bash", "version": "*", "files": [{"content": "sleep 9"}], "run_timeout": 300,
    });
    let answer = bench
        .hob
        .send(json_request("/api/v2/execute", &order))
        .expect(200);
    let answer = answer.json();
    let run = &answer["run"];
    assert_eq!(
        (&run["status"], &run["signal"]),
        (&json!("TO"), &json!("SIGKILL")),
        "{answer}"
    );
}

#[test]
fn a_client_of_piston_needs_another_address_and_nothing_else() {
    let Some(program) = rare_program("ultra-piston") else {
        return;
    };
    if !has_sandboxes() || !has_programs(&["python3"]) {
        return;
    }
    let bench = sandboxed("");
    let packages = program.parent().unwrap().join("packages");
    let client = Command::new("python3")
        .args(["-c", CLIENT, &format!("{}/api/v2/", bench.hob.url())])
        .env("PYTHONPATH", packages)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&client.stdout);
    assert_eq!(
        said, "['bash', 'python']\npython hi\n 0 None\n400\n",
        "{client:?}"
    );
}
