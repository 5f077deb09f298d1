//! `POST /run` and Piston's API over a fake pool: bytes, forms, refusals, who may ask.

mod fake;
mod order;
mod pages;
mod piston;
mod wire;

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use hob_control::{Access, RunsConfig};
use hob_model::{
    CallerAddress, End, EndReason, Memory, Timespan,
    sandbox::{RunEnd, RunEvent, RunMaxima, RunTimes},
};
use http::{HeaderValue, Request, Response};

use crate::{Plane, request};
use fake::{FakeSandboxes, Plan};

/// Limit of time where a test says nothing.
const TIME: Duration = Duration::from_secs(2);

/// A plane whose scripts a fake pool runs.
struct Bench {
    plane: Plane,
    pool: Arc<FakeSandboxes>,
}

impl Bench {
    fn new() -> Self {
        Self::with(RunsConfig::default())
    }

    fn with(config: RunsConfig) -> Self {
        let pool = Arc::new(FakeSandboxes::default());
        let data = Arc::new(tempfile::tempdir().expect("tempdir"));
        let config = RunsConfig {
            coord: Some(HeaderValue::from_static("c1")),
            body: 1 << 10,
            limits: RunMaxima {
                time: Timespan(TIME),
                memory: Memory(64 << 20),
                ..RunMaxima::default()
            },
            ..config
        };
        let plane = Plane::with(data, Some(Arc::clone(&pool) as _), config);
        Self { plane, pool }
    }

    /// What the next runs come to.
    fn plan(&self, plan: Plan) -> &Self {
        self.pool.plan(plan);
        self
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.plane.send(request, Access::Remote).await
    }

    async fn run(&self, query: &str, body: &str) -> Response<Body> {
        self.send(ask(query, body)).await
    }
}

fn ask(query: &str, body: &str) -> Request<Body> {
    let mut request = request(&format!("POST /run{query}"), body.to_owned());
    let ip = "192.0.2.7".parse().expect("an address");
    request.extensions_mut().insert(CallerAddress {
        ip,
        encrypted: false,
    });
    request
}

fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    let value = value.parse().expect("a value");
    request.headers_mut().insert(name, value);
    request
}

fn stdout(text: impl AsRef<[u8]>) -> RunEvent {
    RunEvent::Stdout(text.as_ref().to_vec())
}

fn stderr(text: impl AsRef<[u8]>) -> RunEvent {
    RunEvent::Stderr(text.as_ref().to_vec())
}

fn end(code: i32, reason: EndReason, message: &str) -> RunEnd {
    RunEnd {
        code,
        signal: (code < 0).then_some(9),
        end: End::new(reason, message),
        by_deadline: false,
        times: RunTimes {
            queue: Duration::from_micros(120),
            start: Duration::from_micros(1_300),
            run: Duration::from_millis(20),
        },
        cpu: Some(Duration::from_millis(3)),
        memory: Some(1_234_567),
    }
}

fn done(code: i32) -> RunEvent {
    RunEvent::End(match code {
        0 => end(0, EndReason::Ok, ""),
        code => end(code, EndReason::Exit, "exit status"),
    })
}

/// Killed when its time was over.
fn overdue() -> RunEvent {
    let mut end = end(-1, EndReason::Timeout, "ran into its time limit of 2s");
    end.times.run = TIME;
    end.by_deadline = true;
    RunEvent::End(end)
}
