use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::{FakeMachine, server::Ending};

/// What a stand-in for a worker answers.
pub(super) struct Run {
    pub(super) worker: String,
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) end: Ending,
    base64: bool,
}

/// What a request asks for.
pub(super) struct Order {
    pub(super) script: String,
    /// Whether what is written is to be sent in base64.
    base64: bool,
}

impl Order {
    /// A bare script, as for bfaas, or the JSON of hob.
    pub(super) fn read(request: &Request<Bytes>) -> Self {
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let Ok(Value::Object(order)) = serde_json::from_str::<Value>(&body) else {
            return Self {
                script: body,
                base64: false,
            };
        };
        let asks = |key: &str| order.get(key).is_some_and(|value| value == "base64");
        let script = order.get("script").and_then(Value::as_str);
        let script = script.unwrap_or_default().to_owned();
        Self {
            script: match asks("encoding") {
                true => {
                    let bytes = STANDARD.decode(&script).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).into_owned()
                }
                false => script,
            },
            base64: asks("events"),
        }
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
pub(super) fn run(machine: &mut FakeMachine, order: &Order) -> Run {
    let mut run = Run {
        worker: machine.id.clone(),
        pieces: VecDeque::new(),
        end: Ending::Clean,
        base64: order.base64,
    };
    let mut code = 0;
    for line in order.script.lines() {
        let (verb, what) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "echo" => run.write("stdout", &format!("{what}\n")),
            "exit" => code = what.parse().unwrap_or(1),
            "write" => {
                machine.disk.insert(what.into());
            }
            "look" => {
                let there = machine.disk.contains(what);
                run.write("stdout", &format!("{there}\n"));
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
            _ => run.write("stderr", &format!("{verb}: not found\n")),
        }
    }
    run.event("exit", &json!({ "code": code }));
    run
}

impl Run {
    fn write(&mut self, name: &str, text: &str) {
        let data = match self.base64 {
            true => json!(STANDARD.encode(text)),
            false => json!(text),
        };
        self.event(name, &data);
    }

    fn event(&mut self, name: &str, data: &Value) {
        let event = format!("event: {name}\ndata: {data}\n\n");
        self.pieces.push_back(event.into());
    }
}
