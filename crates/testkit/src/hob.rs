mod held;
mod running;

use std::{
    ffi::{OsStr, OsString},
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    answer::{self, Answer},
    cli::{Cli, Outcome},
    eventually::wait_until,
    leftovers,
    net::Net,
};
use held::Held;
use running::{Running, value_of};

/// Cages may take a moment to go after the server is gone.
const LEFTOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// How to start a [`Hob`].
#[derive(Debug)]
pub struct HobBuilder {
    executable: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    data: Option<TempDir>,
    net: Option<Arc<Net>>,
    held: Vec<Held>,
}

/// A running server with a data directory of its own.
#[derive(Debug)]
pub struct Hob {
    executable: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    data: TempDir,
    running: Option<Running>,
    password: Option<String>,
    net: Option<Arc<Net>>,
    held: Vec<Held>,
}

// === impl HobBuilder ===

impl HobBuilder {
    /// Adds arguments of `hob up`.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the server.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Goes on with the data directory of another server, which has to be down.
    #[must_use]
    pub fn data(mut self, data: TempDir) -> Self {
        self.data = Some(data);
        self
    }

    /// Runs the server, and whatever asks it over the network, inside of `net`.
    #[must_use]
    pub fn inside(mut self, net: &Arc<Net>) -> Self {
        self.net = Some(Arc::clone(net));
        self
    }

    /// Holds a listening socket for the server, as systemd does, and passes it by `name` at every
    /// start. Two of them at most.
    #[must_use]
    pub fn holds(mut self, name: &str, socket: TcpListener) -> Self {
        self.held.push(Held::new(name, socket));
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    /// When it does not come up; what it said is printed.
    pub fn start(self) -> Hob {
        let mut hob = Hob {
            executable: self.executable,
            args: self.args,
            env: self.env,
            data: self.data.unwrap_or_else(data_folder),
            running: None,
            password: None,
            net: self.net,
            held: self.held,
        };
        hob.restart();
        hob
    }
}

fn data_folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("hob-test-")
        // Cages at level `process` reach their bundles through it.
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir()
        .expect("a temporary folder")
}

// === impl Hob ===

impl Hob {
    /// Starts `executable`, which is `env!("CARGO_BIN_EXE_hob")` in a test of the binary.
    ///
    /// # Panics
    /// When it does not come up; what it said is printed.
    pub fn start(executable: impl Into<PathBuf>) -> Self {
        Self::builder(executable).start()
    }

    /// For a start that is not the usual one.
    pub fn builder(executable: impl Into<PathBuf>) -> HobBuilder {
        HobBuilder {
            executable: executable.into(),
            args: Vec::new(),
            env: Vec::new(),
            data: None,
            net: None,
            held: Vec::new(),
        }
    }

    /// Starts the server again, on another port, after [`Hob::stop`] or [`Hob::kill`].
    ///
    /// # Panics
    /// When it runs, or does not come up.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "this hob runs");
        let running = Running::try_start(self).unwrap_or_else(|said| {
            panic!("hob does not come up: {said:?}\n{}", self.log());
        });
        if let Some(password) = value_of(&running.banner, "password") {
            self.password = Some(password.to_owned());
        }
        self.running = Some(running);
    }

    /// Runs the command line against this server, and asks for no leave.
    pub fn cli<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        self.command().args(args).run()
    }

    /// A run of the command line against this server.
    pub fn command(&self) -> Cli {
        let cli = match &self.net {
            Some(net) => Cli::inside(net, &self.executable),
            None => Cli::new(&self.executable),
        };
        cli.env("HOB_DATA", self.data())
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// Where it accepts calls.
    ///
    /// # Panics
    /// When it is down.
    pub fn address(&self) -> SocketAddr {
        self.running().address
    }

    /// Where Prometheus reads; `None` when nowhere.
    ///
    /// # Panics
    /// When it is down.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.running().metrics
    }

    /// What Prometheus reads now.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn metrics(&self) -> String {
        let request = Request::builder().uri("/metrics").body(Bytes::new());
        let answer = self.send_to_metrics(request.expect("a valid request"));
        answer.expect(200).text().to_owned()
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The admin password, as it was shown at the first start.
    ///
    /// # Panics
    /// When none was shown.
    pub fn password(&self) -> &str {
        self.password.as_deref().expect("a password was shown")
    }

    /// The lines that it printed when it started.
    pub fn banner(&self) -> &[String] {
        &self.running().banner
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.running().child.id()
    }

    /// What it wrote to its log so far, over all starts.
    pub fn log(&self) -> String {
        let raw = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// A `GET` of `path`.
    pub fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, "")
    }

    /// A `POST` of `body` to `path`.
    pub fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, path, body)
    }

    /// A request with a body and nothing special in its head.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        self.send(request.body(body.into()).expect("a valid request"))
    }

    /// Any request.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn send(&self, request: Request<Bytes>) -> Answer {
        self.send_to(self.address(), request)
    }

    /// Any request to the address for metrics.
    ///
    /// # Panics
    /// When nobody answers.
    pub fn send_to_metrics(&self, request: Request<Bytes>) -> Answer {
        self.send_to(self.metrics_address().expect("metrics"), request)
    }

    fn send_to(&self, address: SocketAddr, request: Request<Bytes>) -> Answer {
        let send = || answer::send(address, request).expect("an answer");
        match &self.net {
            Some(net) => net.enter(send),
            None => send(),
        }
    }

    /// Kills the server as a power cut would: nothing is cleaned up, its replicas stay.
    ///
    /// # Panics
    /// When it is down.
    pub fn kill(&mut self) {
        let mut running = self.running.take().expect("this hob runs");
        running.child.kill().expect("it can be killed");
        running.child.wait().expect("it can be waited for");
    }

    /// Stops it in the way that leaves its replicas to the next.
    ///
    /// # Panics
    /// When it is down, or does not end well.
    pub fn hand_over(&mut self) {
        let mut running = self.running.take().expect("this hob runs");
        let status = running.end_by(Signal::USR2);
        assert!(status.success(), "hob ended with {status}:\n{}", self.log());
    }

    /// Stops it as its owner would, and asserts that nothing of it is left but its data.
    ///
    /// # Panics
    /// When it is down, does not end, or leaves something.
    pub fn stop(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("this hob runs");
        let status = running.end_by(Signal::TERM);
        assert!(status.success(), "hob ended with {status}:\n{}", self.log());
        let find = || leftovers::find(&running.cgroup(), &running.run, self.data());
        wait_until(LEFTOVER_TIMEOUT, || find().is_empty());
        let left = find();
        assert!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        status
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("this hob runs")
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().with_extension("log")
    }
}

impl Drop for Hob {
    fn drop(&mut self) {
        // What a killed one left running would go on for ever: the next one has it to end.
        if self.running.is_none() && self.data().join("run/replicas").exists() {
            self.running = Running::try_start(self).ok();
        }
        if thread::panicking() {
            eprintln!("--- log of hob ---\n{}---", self.log());
            if let Some(mut running) = self.running.take() {
                running.end_by(Signal::TERM);
            }
        } else if self.running.is_some() {
            self.stop();
        }
        let _ = fs::remove_file(self.log_path());
    }
}
