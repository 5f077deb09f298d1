use std::collections::VecDeque;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::{FakeMachine, server::Ending};

/// What a stand-in for a worker answers.
pub(super) struct Run {
    pub(super) worker: String,
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) end: Ending,
}

/// The script of a request, of which hob's are JSON.
pub(super) fn script(request: &Request<Bytes>) -> String {
    let body = String::from_utf8_lossy(request.body()).into_owned();
    match serde_json::from_str::<Value>(&body) {
        Ok(Value::Object(order)) => order["script"].as_str().unwrap_or_default().into(),
        _ => body,
    }
}

/// Does what the script says, a line each:
///
/// - `echo TEXT`, `exit CODE`: as in a shell
/// - `write FILE`, `look FILE`: on the machine's disk, which a start resets
/// - `reset`: the connection breaks, and what was written before it is seen
/// - `hang`: nothing more, until somebody ends it
/// - `claim POOL`: writes another `pool_id` into the machine's metadata
/// - `unclaim`: removes all of the machine's metadata
/// - `pose NAME`: answers as another worker
pub(super) fn run(machine: &mut FakeMachine, script: &str) -> Run {
    let mut run = Run {
        worker: machine.id.clone(),
        pieces: VecDeque::new(),
        end: Ending::Clean,
    };
    let mut code = 0;
    for line in script.lines() {
        let (verb, what) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "echo" => run.event("stdout", &json!(format!("{what}\n"))),
            "exit" => code = what.parse().unwrap_or(1),
            "write" => {
                machine.disk.insert(what.into());
            }
            "look" => {
                let there = machine.disk.contains(what);
                run.event("stdout", &json!(format!("{there}\n")));
            }
            "claim" => machine.config["metadata"]["pool_id"] = json!(what),
            "unclaim" => machine.config["metadata"] = json!({}),
            "pose" => run.worker = what.into(),
            "hang" => {
                run.end = Ending::Never;
                return run;
            }
            "reset" => {
                run.end = match run.pieces.is_empty() {
                    true => Ending::Broken,
                    false => Ending::Breaking,
                };
                return run;
            }
            _ => run.event("stderr", &json!(format!("{verb}: not found\n"))),
        }
    }
    run.event("exit", &json!({ "code": code }));
    run
}

impl Run {
    fn event(&mut self, name: &str, data: &Value) {
        let event = format!("event: {name}\ndata: {data}\n\n");
        self.pieces.push_back(event.into());
    }
}
