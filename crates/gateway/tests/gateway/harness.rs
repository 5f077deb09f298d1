use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use hob_gateway::{
    AnswerBody, Fallback, Gateway, GatewayConfig, GatewayHandle, GatewayPorts, Listeners,
};
use hob_model::{
    Backend, BanRules, Bans, CallerAddress, Conduct, EndReason, Endpoint, FleetName, FunctionName,
    ReplicaId, ReplicaSet, Route, Routes, SecretName, Target, Timespan, Token, Tokens, Track,
    port::{SecretBytes, SecretError, Secrets, Wake, WakeError},
};
use http_body_util::{BodyExt, Full};
use socket2::{Domain, Socket, Type};
use tempfile::TempDir;

/// Longest wait for anything that should happen, before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until a condition holds.
macro_rules! eventually {
    ($condition:expr) => {
        eventually!($condition, within $crate::harness::PATIENCE)
    };
    ($condition:expr, within $patience:expr) => {{
        let until = std::time::Instant::now() + $patience;
        while !$condition {
            assert!(
                std::time::Instant::now() < until,
                "never: {}",
                stringify!($condition)
            );
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }};
}

// === the server under test ===

/// A gateway with its routes and a fake control plane.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) routes: Arc<Routes>,
    pub(crate) wake: Arc<FakeWake>,
    pub(crate) known: Arc<Known>,
    pub(crate) bans: Arc<Bans>,
    pub(crate) folder: TempDir,
    handle: Option<GatewayHandle>,
    born: AtomicU32,
}

impl World {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        // All callers of a test have one address, and most do nothing but what is refused.
        let rules = BanRules {
            enabled: false,
            ..BanRules::default()
        };
        Self::guarded(Bans::new(rules, Vec::new()), adjust)
    }

    pub(crate) fn guarded(bans: Bans, adjust: impl FnOnce(&mut GatewayConfig)) -> Self {
        Self::listening(bans, adjust, |_| {})
    }

    pub(crate) fn listening(
        bans: Bans,
        adjust: impl FnOnce(&mut GatewayConfig),
        at: impl FnOnce(&mut Listeners),
    ) -> Self {
        let mut config = GatewayConfig {
            threads: 2,
            ..GatewayConfig::default()
        };
        adjust(&mut config);
        let mut listeners = Listeners::from(TcpListener::bind("127.0.0.1:0").unwrap());
        at(&mut listeners);
        let routes = Arc::new(Routes::default());
        let wake = Arc::new(FakeWake::default());
        let fallback: Fallback = Arc::new(|request, peer| {
            Box::pin(async move {
                let text = format!("fallback {} {}", request.uri(), peer.ip());
                let path = request.uri().path().to_owned();
                let caller = request.extensions().get::<CallerAddress>();
                let caller = caller.map(|one| format!("{} {}", one.ip, one.encrypted));
                let caller = caller.unwrap_or_default().parse().unwrap();
                if path == "/reads" {
                    // As every server: whatever went wrong, it answers.
                    let _ = request.into_body().collect().await;
                }
                let body = Full::new(Bytes::from(text)).map_err(|never| match never {});
                let mut response = http::Response::new(AnswerBody::new(body));
                let (status, conduct) = match path.as_str() {
                    "/wrong-password" => (401, Some(Conduct::FailedLogin)),
                    "/no-password" => (401, None),
                    "/right-password" => (200, Some(Conduct::LoggedIn)),
                    "/token" => (200, Some(Conduct::Known)),
                    "/token-nothing" => (404, Some(Conduct::Known)),
                    "/right-password-nothing" => (404, Some(Conduct::LoggedIn)),
                    "/nothing" => (404, None),
                    _ => (200, None),
                };
                *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
                if let Some(conduct) = conduct {
                    response.extensions_mut().insert(conduct);
                }
                response.headers_mut().insert("x-seen-caller", caller);
                response
            })
        });
        let port: Arc<dyn Wake> = wake.clone();
        let known = Arc::new(Known::default());
        let bans = Arc::new(bans);
        let ports = GatewayPorts {
            routes: Arc::clone(&routes),
            wake: port,
            fallback,
            tokens: Arc::clone(&known) as _,
            secrets: Arc::clone(&known) as _,
            bans: Arc::clone(&bans),
        };
        let handle = Gateway::start(config, listeners, ports).unwrap();
        Self {
            address: handle.local_addr(),
            routes,
            wake,
            known,
            bans,
            folder: tempfile::tempdir().unwrap(),
            handle: Some(handle),
            born: AtomicU32::new(0),
        }
    }

    /// A function with no replica yet.
    pub(crate) fn function(&self, name: &str, adjust: impl FnOnce(&mut Route)) -> Arc<ReplicaSet> {
        let replicas = Arc::new(ReplicaSet::default());
        let mut route = Route {
            function: name.parse().unwrap(),
            track: Track::Stable,
            revision: "1".into(),
            timeout: Timespan::from_secs(30),
            body_limit: 1 << 40,
            output_limit: 1 << 40,
            cors: None,
            guard: None,
            domains: Vec::new(),
            target: Target::Replicas(Arc::clone(&replicas)),
            counters: Arc::default(),
            canary: None,
        };
        adjust(&mut route);
        self.routes.set(route);
        replicas
    }

    /// Starts a replica, whose connections are handled by `script`.
    pub(crate) fn replica(&self, script: impl Fn(Conn) + Send + Sync + 'static) -> Replica {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.sock"));
        Replica::start(&format!("replica-{number}"), &path, Backend::new, script)
    }

    /// One that is used once.
    pub(crate) fn fresh(&self, script: impl Fn(Conn) + Send + Sync + 'static) -> Replica {
        let number = self.born.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.path().join(format!("{number}.sock"));
        Replica::start(&format!("replica-{number}"), &path, Backend::once, script)
    }

    /// A function `hello` with one replica that runs `script`.
    pub(crate) fn hello(&self, script: impl Fn(Conn) + Send + Sync + 'static) -> Replica {
        self.hello_with(|_| {}, script)
    }

    pub(crate) fn hello_with(
        &self,
        adjust: impl FnOnce(&mut Route),
        script: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Replica {
        let replicas = self.function("hello", adjust);
        let replica = self.replica(script);
        replicas.replace(vec![Arc::clone(&replica.backend)]);
        replica
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One call on a connection of its own.
    pub(crate) fn call(&self, request: &str) -> Reply {
        self.connect().call(request)
    }

    /// Calls let in, and failures, of `hello`.
    pub(crate) fn totals(&self) -> (u64, u64) {
        self.routes.find("hello").unwrap().counters.totals()
    }

    /// A connection by the inner door.
    pub(crate) fn dial(&self) -> UnixStream {
        let stream = self.handle.as_ref().unwrap().dialer().dial().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    pub(crate) fn handle(mut self) -> GatewayHandle {
        self.handle.take().unwrap()
    }
}

/// What the control plane would do.
#[derive(Default)]
pub(crate) struct FakeWake {
    pub(crate) woken: AtomicU32,
    pub(crate) condemned: Mutex<Vec<String>>,
    /// Never answers.
    pub(crate) hangs: AtomicBool,
    #[allow(clippy::type_complexity)]
    pub(crate) script: Mutex<Option<Box<dyn FnMut() -> Result<(), WakeError> + Send>>>,
}

impl FakeWake {
    pub(crate) fn then(&self, script: impl FnMut() -> Result<(), WakeError> + Send + 'static) {
        *self.script.lock().unwrap() = Some(Box::new(script));
    }

    pub(crate) fn woken(&self) -> u32 {
        self.woken.load(Ordering::SeqCst)
    }

    pub(crate) fn condemned(&self) -> Vec<String> {
        self.condemned.lock().unwrap().clone()
    }
}

#[async_trait::async_trait]
impl Wake for FakeWake {
    async fn wake(&self, _: &FleetName) -> Result<(), WakeError> {
        self.woken.fetch_add(1, Ordering::SeqCst);
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let mut script = self.script.lock().unwrap();
        script.as_mut().map_or(Ok(()), |script| script())
    }

    fn condemn(&self, function: &FunctionName, replica: &ReplicaId, why: EndReason) {
        let line = format!("{function} {replica} {why}");
        self.condemned.lock().unwrap().push(line);
    }
}

/// What a test gives callers to prove who they are.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) tokens: Mutex<HashMap<String, Arc<Token>>>,
    /// By `NAMESPACE/NAME`.
    pub(crate) secrets: Mutex<HashMap<String, Vec<u8>>>,
}

impl Tokens for Known {
    fn find(&self, text: &str) -> Option<Arc<Token>> {
        self.tokens.lock().unwrap().get(text).cloned()
    }
}

impl Secrets for Known {
    fn reveal(&self, namespace: &str, name: &SecretName) -> Result<SecretBytes, SecretError> {
        let found = self
            .secrets
            .lock()
            .unwrap()
            .get(&format!("{namespace}/{name}"))
            .cloned();
        found
            .map(SecretBytes::new)
            .ok_or_else(|| SecretError::NotFound {
                namespace: namespace.to_owned(),
                name: name.clone(),
            })
    }
}

// === a replica ===

/// A program that serves a unix socket, one thread a connection.
pub(crate) struct Replica {
    pub(crate) backend: Arc<Backend>,
    /// Connections accepted so far.
    pub(crate) accepted: Arc<AtomicU32>,
    path: PathBuf,
    gone: Arc<AtomicBool>,
}

impl Replica {
    fn start(
        id: &str,
        path: &Path,
        backend: fn(ReplicaId, Endpoint) -> Backend,
        script: impl Fn(Conn) + Send + Sync + 'static,
    ) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let accepted = Arc::new(AtomicU32::new(0));
        let gone = Arc::new(AtomicBool::new(false));
        let (count, end, script) = (Arc::clone(&accepted), Arc::clone(&gone), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                let (stream, script) = (stream.unwrap(), Arc::clone(&script));
                thread::spawn(move || script(Conn::new(stream)));
            }
        });
        let endpoint = Endpoint::Unix(path.to_owned());
        Self {
            backend: Arc::new(backend(ReplicaId(id.into()), endpoint)),
            accepted,
            path: path.to_owned(),
            gone,
        }
    }

    pub(crate) fn accepted(&self) -> u32 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Accepts nothing any more, as a program that ended.
    pub(crate) fn stop(&self) {
        self.gone.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(&self.path);
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One connection as the replica sees it.
pub(crate) struct Conn {
    pub(crate) stream: BufReader<UnixStream>,
}

/// A request as the replica got it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) line: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Conn {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// The head of the next request; `None` at the end of the connection.
    pub(crate) fn head(&mut self) -> Option<Request> {
        let line = read_line(&mut self.stream)?;
        let fields = read_fields(&mut self.stream)?;
        Some(Request {
            line,
            fields,
            ..Request::default()
        })
    }

    /// The next request with its body.
    pub(crate) fn request(&mut self) -> Option<Request> {
        let mut request = self.head()?;
        let stream = &mut self.stream;
        if request.field("transfer-encoding").is_some() {
            (request.body, request.trailers) = read_chunked(stream)?;
        } else if let Some(length) = request.field("content-length") {
            request.body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut request.body).ok()?;
        }
        Some(request)
    }

    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    pub(crate) fn answer(&mut self, body: &str) -> bool {
        let length = body.len();
        self.write(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }
}

impl Request {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.fields
            .iter()
            .map(|(name, _)| name.to_lowercase())
            .collect()
    }
}

/// Answers every request with its line and body.
pub(crate) fn echo(mut conn: Conn) {
    while let Some(request) = conn.request() {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        if !conn.answer(&format!("{}|{body}", request.line)) {
            return;
        }
    }
}

/// A script that notes each request and answers `ok`.
pub(crate) fn recorder() -> (
    Arc<Mutex<Vec<Request>>>,
    impl Fn(Conn) + Send + Sync + 'static,
) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&seen);
    let script = move |mut conn: Conn| {
        while let Some(request) = conn.request() {
            notes.lock().unwrap().push(request);
            conn.answer("ok");
        }
    };
    (seen, script)
}

// === a caller ===

/// One connection of a caller, which says exactly what it is told.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// From another address of this machine.
    pub(crate) fn connect_from(own: &str, address: SocketAddr) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let own: SocketAddr = format!("{own}:0").parse().unwrap();
        socket.bind(&own.into()).unwrap();
        socket.connect(&address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE * 3)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a request, in which `\n` stands for the end of a line, and reads its answer.
    pub(crate) fn call(&mut self, request: &str) -> Reply {
        let method = request.split(' ').next().unwrap_or_default();
        self.send(request.replace('\n', "\r\n"));
        self.reply(method).expect("an answer")
    }

    /// The head of the next answer.
    pub(crate) fn head(&mut self) -> Option<Reply> {
        let line = read_line(&mut self.stream)?;
        let status = line.split(' ').nth(1)?.parse().ok()?;
        let fields = read_fields(&mut self.stream)?;
        Some(Reply {
            status,
            fields,
            body: Vec::new(),
            trailers: Vec::new(),
        })
    }

    /// The next answer to a request of this method; `None` when the connection ends before its
    /// last byte.
    pub(crate) fn reply(&mut self, method: &str) -> Option<Reply> {
        let mut reply = self.head()?;
        if method == "HEAD" || matches!(reply.status, 100..=199 | 204 | 304) {
            return Some(reply);
        }
        let stream = &mut self.stream;
        if reply.field("transfer-encoding").is_some() {
            (reply.body, reply.trailers) = read_chunked(stream)?;
        } else if let Some(length) = reply.field("content-length") {
            reply.body = vec![0; length.parse().unwrap()];
            stream.read_exact(&mut reply.body).ok()?;
        } else {
            stream.read_to_end(&mut reply.body).ok()?;
        }
        Some(reply)
    }

    /// Whether the connection ends, with nothing more said.
    pub(crate) fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0]), Ok(0) | Err(_))
    }
}

impl Reply {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        find(&self.fields, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks that this is one of hob's own errors: one line, its kind, its end.
    #[track_caller]
    pub(crate) fn assert_error(&self, status: u16, end: Option<&str>, words: &str) {
        let text = self.text();
        assert_eq!(self.status, status, "{text}");
        assert_eq!(self.field("x-hob-end"), end, "{text}");
        assert!(text.contains(words), "`{words}` is not in: {text}");
        assert!(
            text.ends_with('\n') && text.lines().count() == 1,
            "{text:?}"
        );
        assert_eq!(
            self.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(self.field("x-content-type-options"), Some("nosniff"));
    }
}

// === HTTP/1, simply ===

fn find<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut found = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
    let (_, value) = found.next()?;
    assert!(found.next().is_none(), "more than one {name}");
    Some(value)
}

fn read_line(stream: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    let line = line.strip_suffix("\r\n")?;
    Some(line.to_owned())
}

fn read_fields(stream: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(':')?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

type Fields = Vec<(String, String)>;

fn read_chunked(stream: &mut impl BufRead) -> Option<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&read_line(stream)?, 16).ok()?;
        if size == 0 {
            return Some((body, read_fields(stream)?));
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).ok()?;
        read_line(stream)?;
    }
}
