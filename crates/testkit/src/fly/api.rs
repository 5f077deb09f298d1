use std::{collections::BTreeMap, future::pending, io, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::{
    FLY_APP, FLY_TOKEN, FakeMachine, FlyFault, FlyVerb, State, World,
    server::{Answer, Pieces},
};

/// Longest that it waits for a state.
const LONGEST_WAIT: u64 = 60;

/// What was asked for.
struct Asked {
    verb: FlyVerb,
    id: String,
    nonce: Option<String>,
    query: BTreeMap<String, String>,
    body: Value,
}

type Done = Result<Value, (u16, Value)>;

/// Answers a request to the API.
pub(super) async fn answer(world: Arc<World>, request: Request<Bytes>) -> Answer {
    let authorized = request.headers().get("authorization");
    if authorized.is_none_or(|field| field != &format!("Bearer {FLY_TOKEN}")) {
        let error = json!({ "error": "Authenticate: token validation error" });
        return Ok(response(401, &error));
    }
    let Some(asked) = Asked::read(&request) else {
        return Ok(response(404, &json!({ "error": "404 page not found" })));
    };
    let fault = {
        let mut state = world.state();
        state.calls.push(asked.line());
        state.fault(asked.verb)
    };
    let done = |world: &World| world.state().perform(&asked);
    match fault {
        None => Ok(told(done(&world))),
        Some(FlyFault::Status(status)) => Ok(failing(status)),
        Some(FlyFault::DoneBut(status)) => {
            let _ = done(&world);
            Ok(failing(status))
        }
        Some(FlyFault::DoneSilently) => {
            let _ = done(&world);
            Err(io::Error::other("closed on purpose"))
        }
        Some(FlyFault::Closed) => Err(io::Error::other("closed on purpose")),
        Some(FlyFault::Silent) => pending().await,
        Some(FlyFault::Garbled) => {
            let _ = done(&world);
            Ok(Response::new(Pieces::whole("{\"id\":".into())))
        }
        Some(FlyFault::Held) => {
            let mut held = world.held.subscribe();
            // It fails only when the fake is gone.
            let _ = held.wait_for(|gone| *gone).await;
            Ok(told(done(&world)))
        }
        Some(FlyFault::Dies) => {
            let answer = done(&world);
            world.state().kill(&asked, answer.as_ref().ok());
            Ok(told(answer))
        }
        Some(FlyFault::LeaseLost) => {
            let mut state = world.state();
            let ends = state.now() + 600;
            if let Some(machine) = state.machines.get_mut(&asked.id) {
                machine.lease = Some(("somebody-elses".into(), ends));
            }
            Ok(told(state.perform(&asked)))
        }
    }
}

fn told(done: Done) -> Response<Pieces> {
    match done {
        Ok(value) => response(200, &value),
        Err((status, value)) => response(status, &value),
    }
}

fn failing(status: u16) -> Response<Pieces> {
    let mut response = response(status, &json!({ "error": "failing on purpose" }));
    if [429, 503].contains(&status) {
        let now = "0".parse().expect("a header");
        response.headers_mut().insert("retry-after", now);
    }
    response
}

fn response(status: u16, value: &Value) -> Response<Pieces> {
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    response
        .body(Pieces::whole(value.to_string()))
        .expect("a response")
}

fn refusal(status: u16, error: &str) -> (u16, Value) {
    (status, json!({ "error": error }))
}

impl Asked {
    fn read(request: &Request<Bytes>) -> Option<Self> {
        let path = request.uri().path();
        let rest = path.strip_prefix(&format!("/v1/apps/{FLY_APP}/machines"))?;
        let mut parts = rest.split('/').skip(1);
        let id = parts.next().unwrap_or_default().to_owned();
        let verb = match (request.method(), id.is_empty(), parts.next()) {
            (&Method::GET, true, None) => FlyVerb::List,
            (&Method::POST, true, None) => FlyVerb::Make,
            (&Method::GET, false, None) => FlyVerb::Get,
            (&Method::DELETE, false, None) => FlyVerb::Destroy,
            (&Method::POST, false, Some("start")) => FlyVerb::Start,
            (&Method::POST, false, Some("stop")) => FlyVerb::Stop,
            (&Method::POST, false, Some("lease")) => FlyVerb::Lease,
            (&Method::GET, false, Some("wait")) => FlyVerb::Wait,
            _ => return None,
        };
        let nonce = request.headers().get("fly-machine-lease-nonce");
        let pairs = request.uri().query().unwrap_or_default().split('&');
        let pairs = pairs.filter_map(|pair| pair.split_once('='));
        Some(Self {
            verb,
            id,
            nonce: nonce.and_then(|nonce| Some(nonce.to_str().ok()?.to_owned())),
            query: pairs.map(|(k, v)| (k.into(), v.into())).collect(),
            body: serde_json::from_slice(request.body()).unwrap_or_default(),
        })
    }

    /// For those who look at what was asked for.
    fn line(&self) -> String {
        let id = &self.id;
        match self.verb {
            FlyVerb::List => "list".into(),
            FlyVerb::Make => format!("make {}", self.text("name")),
            FlyVerb::Get => format!("get {id}"),
            FlyVerb::Start => format!("start {id}"),
            FlyVerb::Stop => format!("stop {id}"),
            FlyVerb::Wait => format!("wait {id} {}", self.said("state")),
            FlyVerb::Lease => format!("lease {id}"),
            FlyVerb::Destroy => format!("destroy {id}"),
            FlyVerb::Run => format!("run {id}"),
        }
    }

    fn text(&self, key: &str) -> &str {
        self.body[key].as_str().unwrap_or_default()
    }

    fn said(&self, key: &str) -> &str {
        self.query.get(key).map_or("", String::as_str)
    }
}

impl State {
    fn perform(&mut self, asked: &Asked) -> Done {
        let (now, nonces) = (self.now(), self.show_nonces);
        match asked.verb {
            FlyVerb::List => {
                let region = asked.said("region");
                let all = self.machines.values_mut();
                let there = all.filter(|machine| region.is_empty() || machine.region == region);
                let shown = there.map(|machine| {
                    machine.settle();
                    machine.show(nonces)
                });
                return Ok(shown.collect());
            }
            FlyVerb::Make => return self.make(asked),
            _ => {}
        }
        let leases = &mut self.leases;
        let Some(machine) = self.machines.get_mut(&asked.id) else {
            return Err(refusal(404, "machine not found"));
        };
        match asked.verb {
            FlyVerb::Get => {
                machine.settle();
                Ok(machine.show(nonces))
            }
            FlyVerb::Wait => wait(machine, asked),
            FlyVerb::Lease => lease(machine, asked, now, leases),
            _ => change(machine, asked, now).inspect(|_| {
                if asked.verb == FlyVerb::Destroy {
                    self.machines.remove(&asked.id);
                }
            }),
        }
    }

    fn make(&mut self, asked: &Asked) -> Done {
        let name = asked.text("name");
        if self.machines.values().any(|machine| machine.name == name) {
            return Err(refusal(
                409,
                "already_exists: unique machine name violation",
            ));
        }
        if asked.body["config"]["image"].as_str().is_none() {
            return Err(refusal(400, "invalid config: image is required"));
        }
        let mut machine = FakeMachine {
            name: name.into(),
            state: "created".into(),
            region: asked.text("region").into(),
            config: asked.body["config"].clone(),
            ..FakeMachine::default()
        };
        if let Some(seconds) = asked.body["lease_ttl"].as_u64() {
            self.leases += 1;
            machine.lease = Some((format!("{:012x}", self.leases), self.now() + seconds));
        }
        let id = self.add(machine);
        Ok(self.machines[&id].show(true))
    }

    /// The machine of a call dies.
    fn kill(&mut self, asked: &Asked, shown: Option<&Value>) {
        let made = shown.and_then(|shown| shown["id"].as_str());
        let id = made.unwrap_or(&asked.id);
        if let Some(machine) = self.machines.get_mut(id) {
            machine.state = "failed".into();
        }
    }
}

fn wait(machine: &mut FakeMachine, asked: &Asked) -> Done {
    let timeout = asked.query.get("timeout").map(|text| text.parse::<u64>());
    if timeout.is_some_and(|timeout| !timeout.is_ok_and(|t| (1..=LONGEST_WAIT).contains(&t))) {
        return Err(refusal(400, "invalid_argument: timeout"));
    }
    let (state, instance) = (asked.said("state"), asked.said("instance_id"));
    if state == "stopped" && instance.is_empty() {
        return Err(refusal(400, "invalid_argument: instance_id is required"));
    }
    if !instance.is_empty() && instance != machine.instance {
        return Err(refusal(404, "machine instance not found"));
    }
    machine.settle();
    match machine.state == state {
        true => Ok(json!({ "ok": true })),
        // It will not come about by itself, so the time is as good as over.
        false => Err(refusal(408, "deadline_exceeded: still waiting")),
    }
}

fn lease(machine: &mut FakeMachine, asked: &Asked, now: u64, leases: &mut u64) -> Done {
    let conflict = |(status, message): (u16, String)| {
        (status, json!({ "status": "error", "message": message }))
    };
    machine
        .lets(asked.nonce.as_deref(), now)
        .map_err(conflict)?;
    let nonce = asked.nonce.clone().unwrap_or_else(|| {
        *leases += 1;
        format!("{leases:012x}")
    });
    let ends = now + asked.body["ttl"].as_u64().unwrap_or(13);
    machine.lease = Some((nonce.clone(), ends));
    let data = json!({
        "nonce": nonce,
        "expires_at": ends,
        "owner": "fake@fly.io",
        "description": asked.body["description"],
        "version": machine.instance,
    });
    Ok(json!({ "status": "success", "data": data }))
}

/// What only the holder of the lease may do.
fn change(machine: &mut FakeMachine, asked: &Asked, now: u64) -> Done {
    let held = machine.lets(asked.nonce.as_deref(), now);
    held.map_err(|(status, message)| refusal(status, &message))?;
    let state = machine.state.as_str();
    match asked.verb {
        FlyVerb::Start => {
            if !["stopped", "suspended"].contains(&state) {
                let error =
                    format!("failed_precondition: unable to start machine from state '{state}'");
                return Err(refusal(412, &error));
            }
            let before = machine.state.clone();
            machine.state = "starting".into();
            // As Fly has it for a machine without volumes.
            machine.disk.clear();
            machine.used = false;
            Ok(json!({ "previous_state": before, "migrated": false, "new_host": "" }))
        }
        FlyVerb::Stop => {
            if state != "stopped" {
                machine.state = "stopping".into();
            }
            Ok(json!({ "ok": true }))
        }
        _ if asked.said("force") != "true" && state != "stopped" => {
            Err(refusal(412, "failed_precondition: machine is running"))
        }
        _ => Ok(json!({ "ok": true })),
    }
}
