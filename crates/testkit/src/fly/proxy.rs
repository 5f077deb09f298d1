use std::{future::pending, io, sync::Arc};

use bytes::Bytes;
use http::{Request, Response};

use super::{
    FlyFault, FlyVerb, World,
    server::{Answer, Ending, Pieces},
    worker,
};

/// Answers a request to the workers, as Fly's proxy with a worker behind it.
pub(super) async fn answer(world: Arc<World>, request: Request<Bytes>) -> Answer {
    let forced = request.headers().get("fly-force-instance-id");
    let id = forced.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let id = id.to_owned();
    let fault = {
        let mut state = world.state();
        state.calls.push(format!("run {id}"));
        state.fault(FlyVerb::Run)
    };
    match fault {
        None => {}
        Some(FlyFault::Silent) => return pending().await,
        Some(FlyFault::Status(status)) => return Ok(plain(status, "failing on purpose")),
        Some(_) => return Err(io::Error::other("closed on purpose")),
    }
    let shared = world.clone();
    let mut state = world.state();
    let Some(machine) = state.machines.get_mut(&id) else {
        return Ok(plain(502, ""));
    };
    // Nobody may rely on a machine that he has not waited for.
    if machine.state != "started" {
        return Ok(plain(502, ""));
    }
    if machine.used {
        return Ok(plain(409, "conflict\n"));
    }
    machine.used = true;
    let order = worker::Order::read(&request);
    let run = worker::run(machine, &order);
    state.runs.push((id.clone(), order.script));
    if run.end == Ending::Broken {
        return Err(io::Error::other("reset on purpose"));
    }
    let pieces = Pieces {
        pieces: run.pieces,
        end: run.end,
        dropped: Some(Box::new(move |whole| {
            let mut state = shared.state();
            state.hung_up += usize::from(!whole);
            // A worker ends after its run, and its machine with it. That of a caller who hung up
            // goes on.
            if let Some(machine) = state.machines.get_mut(&id)
                && whole
                && machine.state == "started"
            {
                machine.state = "stopped".into();
            }
        })),
    };
    let response = Response::builder()
        .header("content-type", "text/event-stream")
        .header("worker", run.worker);
    Ok(response.body(pieces).expect("a response"))
}

fn plain(status: u16, text: &str) -> Response<Pieces> {
    let response = Response::builder().status(status);
    response
        .body(Pieces::whole(text.into()))
        .expect("a response")
}
