//! A real engine with real cages in a folder of its own, and functions written in Python.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use hob_engine::{LocalConfig, LocalEngine};
use hob_model::{
    Backend, BackendLease, Endpoint, FleetName, Function, FunctionName, Revision, Routes, Run,
    SecretName, Settings, Target,
    port::{Effort, Engine, EngineError, Observed, SecretBytes, SecretError, Secrets},
};
use hob_sandbox::{Sandbox, SandboxConfig};

/// Longest wait for anything that should happen by itself.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Serves HTTP on `$HOB_SOCKET`: the path says what to do.
const SERVER: &str = r#"
import os, socket, sys, threading
REVISION = "@REVISION@"
def answer(path):
    word, _, rest = path.strip("/").partition("/")
    if word == "env":
        return os.environ.get(rest, "-").encode()
    if word == "read":
        with open("/" + rest, "rb") as file:
            return file.read()
    if word == "mode":
        about = os.stat("/" + rest)
        return f"{about.st_mode & 0o777:o} {about.st_uid == os.getuid()}".encode()
    if word == "secret":
        with open(os.path.join(os.environ["HOB_SECRETS"], rest), "rb") as file:
            return file.read()
    if word == "say":
        print(rest, flush=True)
        return b"said"
    if word == "crash":
        os._exit(int(rest))
    return REVISION.encode()
def serve(connection):
    with connection:
        head = connection.recv(65536)
        if not head:
            return
        try:
            status, body = b"200 OK", answer(head.split()[1].decode())
        except Exception as problem:
            status, body = b"500 Oops", repr(problem).encode()
        connection.sendall(b"HTTP/1.0 " + status + b"\r\n\r\n" + body)
listener = socket.socket(socket.AF_UNIX)
listener.bind(os.environ["HOB_SOCKET"])
listener.listen(64)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"#;

/// An engine, what it works with, and where. Shut it down with [`World::end`].
pub(crate) struct World {
    pub(crate) engine: Arc<LocalEngine>,
    pub(crate) routes: Arc<Routes>,
    pub(crate) secrets: Arc<Vault>,
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) folder: tempfile::TempDir,
}

/// Secrets in memory.
#[derive(Default)]
pub(crate) struct Vault(Mutex<BTreeMap<String, Vec<u8>>>);

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut LocalConfig)) -> Self {
        static WORLDS: AtomicUsize = AtomicUsize::new(0);
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let folder = tempfile::tempdir().unwrap();
        // Programs at level `process` reach their bundle as a user of their own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
        let sandbox = Sandbox::new(SandboxConfig {
            helper: crate::helper::helper(),
            helper_args: vec!["cage-init".into()],
            cgroup_name: format!("hob-engine-test-{}-{number}", std::process::id()),
            state: folder.path().join("state"),
        });
        let sandbox = Arc::new(sandbox.unwrap());
        let (routes, secrets) = (Arc::<Routes>::default(), Arc::<Vault>::default());
        let mut config = LocalConfig::new(folder.path().join("data"), folder.path().join("run"));
        change(&mut config);
        let engine = LocalEngine::new(
            config,
            Arc::clone(&sandbox),
            Arc::clone(&routes),
            secrets.clone(),
        );
        Self {
            engine: engine.unwrap(),
            routes,
            secrets,
            sandbox,
            folder,
        }
    }

    /// A function whose revision answers with `revision`.
    pub(crate) fn server(&self, function: &str, revision: &str) -> Function {
        let source = SERVER.replace("@REVISION@", revision);
        self.function(function, revision, &source)
    }

    /// A function whose revision is the Python program `source`.
    pub(crate) fn function(&self, function: &str, revision: &str, source: &str) -> Function {
        let digest = format!("{function}-{revision}");
        self.bundle(&digest, "handler.py", source);
        let argv = ["python3", "-u", "handler.py"].map(str::to_owned).to_vec();
        let now = SystemTime::now();
        Function {
            name: name(function),
            revision: Revision {
                bundle: digest.clone(),
                digest,
                language: "server".into(),
                run: Run::Process {
                    argv,
                    env: BTreeMap::from([("FROM_TEMPLATE".into(), "yes".into())]),
                },
                settings: Settings::default(),
                built_at: now,
            },
            number: 1,
            replicas: 1,
            canary: None,
            created_at: now,
            updated_at: now,
        }
    }

    pub(crate) fn bundle(&self, digest: &str, file: &str, content: &str) {
        let bundle = self.data().join("bundles").join(digest);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join(file), content).unwrap();
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn run(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    pub(crate) async fn apply(&self, function: &Function) {
        self.engine.apply(function).await.unwrap();
    }

    pub(crate) async fn scale(&self, function: &str, replicas: u32) -> Result<Effort, EngineError> {
        self.engine.scale(&fleet(function), replicas).await
    }

    pub(crate) async fn observe(&self, function: &str) -> Observed {
        let all = self.engine.observe().await.unwrap();
        let found = all.into_iter().find(|one| one.function == name(function));
        found.expect("the engine knows the function")
    }

    /// A call as the gateway makes it, without waking anybody.
    pub(crate) async fn call(&self, function: &str, path: &str) -> io::Result<Vec<u8>> {
        let lease = self.lease(function).ok_or(io::ErrorKind::NotConnected)?;
        let request = format!("GET {path} HTTP/1.0\r\n\r\n");
        let call = move || match &lease.endpoint {
            Endpoint::Unix(path) => ask(UnixStream::connect(path)?, &request),
            Endpoint::Tcp(address) => ask(TcpStream::connect(address)?, &request),
            Endpoint::Namespace { namespace, address } => {
                let connect = || TcpStream::connect(address);
                ask(hob_sandbox::network::enter(namespace, connect)??, &request)
            }
        };
        tokio::task::spawn_blocking(call).await.unwrap()
    }

    pub(crate) async fn text(&self, function: &str, path: &str) -> String {
        let body = self.call(function, path).await.unwrap();
        String::from_utf8(body).unwrap()
    }

    pub(crate) fn lease(&self, function: &str) -> Option<BackendLease> {
        match &self.routes.find(function)?.target {
            Target::Replicas(set) => set.lease().ok(),
            Target::Static(_) => None,
        }
    }

    pub(crate) fn ready(&self, function: &str) -> Vec<Arc<Backend>> {
        match self.routes.find(function).map(|route| route.target.clone()) {
            Some(Target::Replicas(set)) => set.ready().to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) async fn end(self) {
        self.engine.shutdown().await;
    }
}

impl Vault {
    pub(crate) fn set(&self, name: &str, value: &[u8]) {
        let mut all = self.0.lock().unwrap();
        all.insert(name.to_owned(), value.to_vec());
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(name);
    }
}

impl Secrets for Vault {
    fn reveal(&self, namespace: &str, name: &SecretName) -> Result<SecretBytes, SecretError> {
        let all = self.0.lock().unwrap();
        let value = all.get(name.as_str()).cloned();
        value
            .map(SecretBytes::new)
            .ok_or_else(|| SecretError::NotFound {
                namespace: namespace.to_owned(),
                name: name.clone(),
            })
    }
}

pub(crate) fn name(text: &str) -> FunctionName {
    text.parse().unwrap()
}

pub(crate) fn fleet(function: &str) -> FleetName {
    FleetName::stable(&name(function))
}

/// Waits until `condition` holds; fails the test if it does not in time.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + SOON;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit(") ")
        .next()
        .and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z')
}

pub(crate) fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

fn ask(mut stream: impl Read + Write, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = head.ok_or(io::ErrorKind::UnexpectedEof)? + 4;
    if !answer.starts_with(b"HTTP/1.0 200") {
        let text = String::from_utf8_lossy(&answer);
        return Err(io::Error::other(text.into_owned()));
    }
    Ok(answer.split_off(body))
}
