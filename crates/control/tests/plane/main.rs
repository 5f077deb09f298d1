//! The control plane through its edges: the router, the `Wake` port and the background task,
//! with a fake engine and a fake builder behind it, a real store and real files.

mod audit;
mod auth;
mod build;
mod calls;
mod canary;
mod deploy;
mod document;
mod domains;
mod fake;
mod idle;
mod mistakes;
mod openfaas;
mod rest;
mod restore;
mod rollback;
mod runs;
mod schedule;
mod secrets;
mod tokens;
mod wake;
mod walk;

use std::{fs, sync::Arc, time::Duration};

use axum::body::Body;
use fake::{FakeBuilder, FakeEngine};
use hob_control::{
    Access, Control, ControlConfig, ControlParts, KnownRegistries, QueueLimits, RunsConfig,
};
use hob_image::{ImageStore, RegistryClient};
use hob_model::{FunctionName, Routes, port::Sandboxes, wire::DeployEvent};
use hob_store::{CallQueue, SecretStore, Store};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tower::ServiceExt;

/// Longest wait for something that should be there in no time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control plane in a folder of its own.
struct Plane {
    control: Arc<Control>,
    engine: Arc<FakeEngine>,
    builder: Arc<FakeBuilder>,
    store: Store,
    data: Arc<TempDir>,
}

impl Plane {
    /// With an empty store.
    fn new() -> Self {
        Self::on(Arc::new(tempfile::tempdir().expect("tempdir")))
    }

    /// On a data directory that an earlier one may have left.
    fn on(data: Arc<TempDir>) -> Self {
        Self::with(data, None, RunsConfig::default())
    }

    /// With somebody who runs scripts.
    fn with(data: Arc<TempDir>, sandboxes: Option<Arc<dyn Sandboxes>>, runs: RunsConfig) -> Self {
        let routes = Arc::new(Routes::default());
        let engine = Arc::new(FakeEngine::new(Arc::clone(&routes)));
        let builder = Arc::new(FakeBuilder::default());
        let store = Store::open(data.path()).expect("store");
        let folder = data.path();
        let secrets = SecretStore::open(&folder.join("secrets"), &folder.join("identity.txt"));
        let config = ControlConfig {
            data: folder.to_owned(),
            gateway: "http://127.0.0.1:8080".into(),
            tls: None,
            metrics: None,
            isolation: "container".into(),
            queue: QueueLimits {
                orphan_grace: Duration::ZERO,
                ..QueueLimits::default()
            },
            keep_revisions: 3,
            runs,
            warnings: vec!["no pids limit".into()],
            runtime: Handle::current(),
        };
        let secrets = Arc::new(secrets.expect("secrets"));
        let registries = Arc::new(KnownRegistries::new(folder, Arc::clone(&secrets), None));
        let parts = ControlParts {
            calls: CallQueue::open(&store).expect("queue"),
            store: store.clone(),
            images: ImageStore::open(folder).expect("images"),
            registry_client: Arc::new(RegistryClient::new(Arc::clone(&registries) as _)),
            registries,
            secrets,
            engine: engine.clone(),
            builder: builder.clone(),
            image_builder: builder.clone(),
            routes,
            bans: Arc::default(),
            registry: None,
            certificates: None,
            sandboxes,
        };
        Self {
            control: Control::new(config, parts),
            engine,
            builder,
            store,
            data,
        }
    }

    /// What `hob up` does after a stop or a crash.
    fn again(self) -> Self {
        let data = Arc::clone(&self.data);
        drop(self);
        Self::on(data)
    }

    async fn send(&self, request: Request<Body>, access: Access) -> http::Response<Body> {
        let answer = self.control.router(access).oneshot(request);
        tokio::time::timeout(PATIENCE, answer)
            .await
            .expect("in time")
            .expect("infallible")
    }

    /// `"PUT /hob/v1/…"` from the same machine: status and whole text.
    async fn call(&self, line: &str, body: impl Into<Body>) -> (StatusCode, String) {
        let response = self.send(request(line, body), Access::Local).await;
        (response.status(), text(response).await)
    }

    /// Deploys and returns the events.
    async fn deploy(&self, name: &str, script: &str) -> Vec<DeployEvent> {
        let line = format!("PUT /hob/v1/functions/{name}");
        let (status, text) = self.call(&line, archive(script)).await;
        assert_eq!(status, StatusCode::OK, "{text}");
        events(&text)
    }

    /// Deploys what must work.
    async fn deployed(&self, name: &str, script: &str) -> FunctionName {
        let events = self.deploy(name, script).await;
        assert!(
            matches!(events.last(), Some(DeployEvent::Done { .. })),
            "{events:?}"
        );
        name.parse().expect("valid")
    }

    /// Has somebody change all calls by hand.
    fn change_calls(&self, what: &str) {
        let database = rusqlite::Connection::open(self.data.path().join("hob.db"));
        let changed = database.and_then(|it| it.execute_batch(&format!("UPDATE calls SET {what}")));
        changed.expect("changed");
    }

    /// Makes the database refuse an `INSERT`, `UPDATE` or `DELETE` of functions.
    fn break_store(&self, statement: &str) {
        self.break_table("functions", statement);
    }

    /// The same of any table.
    fn break_table(&self, table: &str, statement: &str) {
        let database = rusqlite::Connection::open(self.data.path().join("hob.db"));
        let trigger = format!(
            "CREATE TRIGGER broken BEFORE {statement} ON {table}
             BEGIN SELECT RAISE(ABORT, 'the disk is gone'); END"
        );
        database
            .expect("opens")
            .execute_batch(&trigger)
            .expect("trigger");
    }

    /// Names of what is left in the scratch folder.
    fn scratch(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data.path().join("tmp")) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.expect("entry").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    }
}

fn request(line: &str, body: impl Into<Body>) -> Request<Body> {
    let (method, uri) = line.split_once(' ').expect("method and path");
    let request = Request::builder().method(method).uri(uri);
    request.body(body.into()).expect("request")
}

async fn text(response: http::Response<Body>) -> String {
    let body = response.into_body().collect();
    let body = tokio::time::timeout(PATIENCE, body).await.expect("in time");
    String::from_utf8(body.expect("whole").to_bytes().to_vec()).expect("text")
}

/// What passes for a packed folder; the fake builder does what the script says.
fn archive(script: &str) -> Vec<u8> {
    [b"\x1f\x8b", script.as_bytes()].concat()
}

fn events(text: &str) -> Vec<DeployEvent> {
    let lines = text.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .expect("every line is an event")
}

/// Waits for a condition that something in the background makes true.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
