//! Serves `handler::handle` on the unix socket `$HOB_SOCKET`, or else on `$HOST:$PORT`.
//! Standard library only; a thread per connection.

use std::{
    env, fs,
    io::{self, BufReader, Read, Write},
    net::TcpListener,
    os::unix::net::UnixListener,
    panic::{catch_unwind, AssertUnwindSafe},
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

#[path = "../handler.rs"]
mod handler;
mod http;

pub use http::{Request, Response};

/// Threads. hob's default limit of processes and threads is 256.
const MAX_CONNECTIONS: usize = 128;
/// Above this many connections, each is closed after its call.
const MAX_KEPT: usize = 64;
/// How long a connection may wait for its next call.
const IDLE: Duration = Duration::from_secs(120);

static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    match listen() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot listen: {error}");
            ExitCode::FAILURE
        }
    }
}

fn listen() -> io::Result<()> {
    if let Some(path) = env::var_os("HOB_SOCKET").filter(|path| !path.is_empty()) {
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(path)?;
        loop {
            if let Ok((stream, _)) = listener.accept() {
                stream.set_read_timeout(Some(IDLE))?;
                start(stream.try_clone()?, stream);
            }
        }
    }
    let host = env::var("HOST").unwrap_or_else(|_| "127.0.0.1".into());
    let port = env::var("PORT").unwrap_or_else(|_| "8080".into());
    let listener = TcpListener::bind(format!("{host}:{port}"))?;
    loop {
        if let Ok((stream, _)) = listener.accept() {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(IDLE))?;
            start(stream.try_clone()?, stream);
        }
    }
}

fn start(reader: impl Read + Send + 'static, writer: impl Write + Send + 'static) {
    while CONNECTIONS.load(Ordering::Relaxed) >= MAX_CONNECTIONS {
        thread::sleep(Duration::from_millis(1));
    }
    CONNECTIONS.fetch_add(1, Ordering::Relaxed);
    thread::spawn(move || {
        talk(&mut BufReader::new(reader), writer);
        CONNECTIONS.fetch_sub(1, Ordering::Relaxed);
    });
}

fn talk(reader: &mut impl io::BufRead, mut writer: impl Write) {
    loop {
        let (response, head_only, keep) = match Request::read(reader, &mut writer) {
            Ok(Some(request)) => {
                let keep = request.keep && CONNECTIONS.load(Ordering::Relaxed) <= MAX_KEPT;
                let head_only = request.method == "HEAD";
                (call(request), head_only, keep)
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                (Response::new(400, format!("{error}\n")), false, false)
            }
            Ok(None) | Err(_) => return,
        };
        if response.write(&mut writer, head_only, keep).is_err() || !keep {
            return;
        }
    }
}

/// A handler that panics has said why on stderr.
fn call(request: Request) -> Response {
    catch_unwind(AssertUnwindSafe(|| handler::handle(request))).unwrap_or_else(|_| {
        let place = env::var("HOB_FUNCTION").map_or("its log".into(), |name| format!("`hob logs {name}`"));
        Response::new(500, format!("handler failed: see {place}\n"))
    })
}
