//! A bundle's program, started as anybody could start it.

use std::{
    fs::{self, File},
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use hob_model::Run;

use crate::client::{Answer, exchange};

/// Longest wait for a program to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program; killed on drop.
pub(crate) struct Program {
    child: Child,
    port: u16,
    /// Holds the socket and the log.
    own: tempfile::TempDir,
}

impl Program {
    /// Starts what a revision says, in its bundle.
    pub(crate) fn start(run: &Run, bundle: &Path) -> Self {
        let Run::Process { argv, env } = run else {
            panic!("{run:?} has no program");
        };
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(env).current_dir(bundle);
        Self::start_command(command, true)
    }

    /// Starts a command that listens on `$PORT`, or if it may on `$HOB_SOCKET`.
    pub(crate) fn start_command(mut command: Command, with_socket: bool) -> Self {
        let own = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = File::create(own.path().join("log")).unwrap();
        command
            .env("PORT", port.to_string())
            .env("HOB_FUNCTION", "hello")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        if with_socket {
            command.env("HOB_SOCKET", own.path().join("http.sock"));
        }
        let child = command.spawn().unwrap();
        let mut program = Self { child, port, own };
        let deadline = Instant::now() + PATIENCE;
        while program.unix().is_none() && program.tcp().is_none() {
            let ended = program.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "does not listen, ended {ended:?}: {}",
                program.log()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        program
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.own.path().join("http.sock")
    }

    fn unix(&self) -> Option<UnixStream> {
        UnixStream::connect(self.socket()).ok()
    }

    fn tcp(&self) -> Option<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port)).ok()
    }

    /// What it wrote so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.own.path().join("log")).unwrap()
    }

    /// Sends these bytes.
    pub(crate) fn raw(&self, request: &str) -> Answer {
        match self.unix() {
            Some(stream) => exchange(stream, request.as_bytes()),
            None => exchange(self.tcp().expect("it listens"), request.as_bytes()),
        }
    }

    pub(crate) fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nX-Call-Id: 7\r\nContent-Length: {length}\r\n\r\n{body}"
        ))
    }

    pub(crate) fn post(&self, body: &str) -> Answer {
        self.call("POST", "/", body)
    }

    /// A connection on which a request was sent, to be read from by the test.
    pub(crate) fn open(&self, request: &str) -> UnixStream {
        let mut stream = self.unix().expect("it listens on its socket");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        stream
    }

    /// Asks it to stop, as the engine does.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `condition` holds.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
