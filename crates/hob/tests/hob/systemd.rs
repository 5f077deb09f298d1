//! As a service of systemd.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::PermissionsExt,
            net::{SocketAddr as SocketAddrOfUnix, UnixDatagram, UnixStream},
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use hob_testkit::{Cli, EVENTUALLY, Hob, Outcome, assert_eventually, has_programs};
use serde_json::Value;
use tempfile::TempDir;

use crate::bench::{Bench, HOB};

/// How often a server is ended and started again.
const RESTARTS: usize = 5;

fn socket() -> (TcpListener, SocketAddr) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn sockets_that_systemd_holds_are_taken_and_kept_from_everybody_else() {
    if !has_programs(&["python3"]) {
        return;
    }
    let (calls, at) = socket();
    let (metrics, metrics_at) = socket();
    let hob = Hob::builder(HOB).holds("calls", calls);
    let hob = hob.holds("metrics", metrics).start();
    let bench = Bench {
        hob,
        folder: tempfile::tempdir().unwrap(),
    };
    assert_eq!(bench.hob.address(), at);
    assert_eq!(bench.hob.metrics_address(), Some(metrics_at));
    assert!(bench.hob.metrics().contains("hob"));
    let banner = bench.hob.banner().join("\n");
    assert!(!banner.contains("no effect"), "{banner}");

    bench.deploy(&bench.python("hello", "return 'here'"));
    assert_eq!(bench.hob.post("/function/hello", "").text(), "here");
    let detail = bench.hob.cli(["describe", "hello", "-o", "json"]).json();
    let pid = &detail["instances"][0]["pid"];
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap();
    let environ = String::from_utf8_lossy(&environ);
    assert!(!environ.contains("LISTEN_"), "{environ}");
    let sockets = |pid: &Value| {
        let folder = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = folder.filter_map(|one| fs::read_link(one.unwrap().path()).ok());
        links.filter(|link| link.to_string_lossy().starts_with("socket:"))
    };
    let own: Vec<PathBuf> = sockets(&bench.hob.pid().into()).collect();
    assert!(own.len() >= 2, "{own:?}");
    assert!(!sockets(pid).any(|socket| own.contains(&socket)));
}

#[test]
fn a_socket_with_any_other_name_is_for_calls_and_counts_before_the_settings() {
    let (calls, at) = socket();
    let hob = Hob::builder(HOB).holds("unknown", calls).start();
    assert_eq!(hob.address(), at);
    let banner = hob.banner().join("\n");
    let warning = format!(
        "warning: `--listen 127.0.0.1:0` has no effect: systemd passed a socket, which listens on {at}: its unit says where"
    );
    assert!(banner.contains(&warning), "{banner}");
}

#[test]
fn a_socket_that_is_not_hobs_or_not_right_is_not_taken() {
    let (socket, at) = socket();
    let stream = TcpStream::connect(at).unwrap();
    let (unix, _) = UnixStream::pair().unwrap();
    let of_tcp = || OwnedFd::from(socket.try_clone().unwrap());
    // The socket's own address is taken for everybody who is not given the socket.
    for (pid, count, given, expected) in [
        ("$PPID", "1", of_tcp(), "is taken by another program"),
        ("", "1", of_tcp(), "is taken by another program"),
        ("$$", "0", of_tcp(), "is taken by another program"),
        ("$$", "2", of_tcp(), "several sockets for calls"),
        ("$$", "1", stream.into(), "it does not listen"),
        ("$$", "1", unix.into(), "not a valid tcp socket"),
    ] {
        let data = tempfile::tempdir().unwrap();
        let script =
            format!("exec 3<&0 4<&0 </dev/null; LISTEN_PID={pid} LISTEN_FDS={count} exec \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh", HOB, "up"]);
        command.args(["--listen", &at.to_string(), "--metrics", "off"]);
        command.args(["--config", "/dev/null", "--data"]);
        let output = command.arg(data.path()).stdin(given).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// What a server says to the service manager.
struct Ear(UnixDatagram);

impl Ear {
    fn hear(&self) -> String {
        let mut words = [0; 4096];
        self.0.set_read_timeout(Some(EVENTUALLY)).unwrap();
        let length = self.0.recv(&mut words).unwrap();
        String::from_utf8_lossy(&words[..length]).into_owned()
    }

    fn hears_nothing(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let silent = self.0.recv(&mut [0]).is_err();
        self.0.set_nonblocking(false).unwrap();
        silent
    }
}

#[test]
fn the_service_manager_is_told_when_calls_are_served_and_when_no_more_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let ear = Ear(UnixDatagram::bind(&path).unwrap());
    let mut hob = Hob::builder(HOB).env("NOTIFY_SOCKET", &path).start();
    assert_eq!(
        ear.hear(),
        format!("READY=1\nSTATUS=0 functions at {}\n", hob.url())
    );
    hob.get("/healthz").expect(200);
    hob.hand_over();
    let words = "STOPPING=1\nSTATUS=stopping, replicas go on\n";
    assert_eq!(ear.hear(), words);

    // One that cannot serve is never ready.
    let images = hob.data().join("images");
    fs::remove_dir_all(&images).unwrap();
    fs::write(&images, "no folder").unwrap();
    let up = ["up", "--listen", "127.0.0.1:0", "--metrics", "off"];
    let up = hob.command().args(up).env("NOTIFY_SOCKET", &path).run();
    assert!(up.fails(1).contains("images"));
    assert!(ear.hears_nothing());
    fs::remove_file(&images).unwrap();

    hob.restart();
    assert!(ear.hear().starts_with("READY=1\n"));
    hob.stop();
    assert_eq!(ear.hear(), "STOPPING=1\nSTATUS=stopping\n");
}

#[test]
fn an_abstract_name_is_heard_and_a_dead_one_is_no_reason_not_to_serve() {
    let name = format!("hob-test-{}", std::process::id());
    let address = SocketAddrOfUnix::from_abstract_name(&name).unwrap();
    let ear = Ear(UnixDatagram::bind_addr(&address).unwrap());
    let hob = Hob::builder(HOB).env("NOTIFY_SOCKET", format!("@{name}"));
    let mut hob = hob.start();
    assert!(ear.hear().starts_with("READY=1\n"));
    drop(ear);
    hob.stop();
    hob.restart();
    hob.get("/healthz").expect(200);
    assert!(hob.log().contains("cannot tell the service manager"));
}

/// How calls went that never stopped coming, each on a connection of its own.
#[derive(Debug, Default)]
struct Tally {
    answered: AtomicUsize,
    refused: AtomicUsize,
    /// Accepted, and then not answered.
    broken: AtomicUsize,
}

impl Tally {
    fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    fn call(&self, address: SocketAddr) {
        let count = match TcpStream::connect(address).map(is_answered) {
            Ok(true) => &self.answered,
            Ok(false) => &self.broken,
            Err(_) => &self.refused,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

fn ask(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.set_read_timeout(Some(EVENTUALLY))?;
    stream.write_all(
        b"POST /function/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    )
}

fn is_answered(mut stream: TcpStream) -> bool {
    let mut answer = String::new();
    let read = ask(&mut stream).and_then(|()| stream.read_to_string(&mut answer));
    read.is_ok() && answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("here")
}

/// Ends a server that systemd holds the socket for, and starts it again, some times, while calls
/// come in.
fn under_calls(end: fn(&mut Hob)) -> Tally {
    const CALLERS: usize = 2;
    const CALLS_MAX: usize = 100_000;
    let (calls, at) = socket();
    let mut bench = Bench {
        hob: Hob::builder(HOB).holds("calls", calls).start(),
        folder: tempfile::tempdir().unwrap(),
    };
    bench.deploy(&bench.python("hello", "return 'here'"));
    let tally = Tally::default();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Ends the callers when an assertion fails, too.
        let _over = Over(&over);
        for _ in 0..CALLERS {
            scope.spawn(|| {
                let mut calls = 0..CALLS_MAX;
                while !over.load(Ordering::Relaxed) && calls.next().is_some() {
                    tally.call(at);
                }
            });
        }
        for _ in 0..RESTARTS {
            let before = tally.answered();
            assert_eventually!(tally.answered() > before + 20);
            end(&mut bench.hob);
            let mut waiting = TcpStream::connect(at).unwrap();
            ask(&mut waiting).unwrap();
            bench.hob.restart();
            let mut answer = String::new();
            waiting.read_to_string(&mut answer).unwrap();
            assert!(answer.ends_with("here"), "{answer}");
        }
        let before = tally.answered();
        assert_eventually!(tally.answered() > before + 20);
    });
    tally
}

struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_restart_by_systemd_loses_no_call() {
    if !has_programs(&["python3"]) {
        return;
    }
    let tally = under_calls(Hob::hand_over);
    assert_eq!(tally.refused.into_inner(), 0);
    assert_eq!(tally.broken.into_inner(), 0);
}

#[test]
fn a_killed_server_breaks_what_it_has_accepted_and_nothing_else() {
    if !has_programs(&["python3"]) {
        return;
    }
    let tally = under_calls(Hob::kill);
    assert_eq!(tally.refused.into_inner(), 0);
    // Each of two callers has one connection at a time.
    assert!(tally.broken.into_inner() <= 2 * RESTARTS);
}

#[test]
fn systemd_socket_activate_starts_a_server() {
    if !has_programs(&["systemd-socket-activate"]) {
        return;
    }
    let (free, at) = socket();
    drop(free);
    let data = tempfile::tempdir().unwrap();
    let mut command = Command::new("systemd-socket-activate");
    command.args(["-l", &at.to_string(), HOB, "up", "--config", "/dev/null"]);
    command
        .args(["--metrics", "off", "--data"])
        .arg(data.path());
    let mut activated = Activated(command.stdout(Stdio::null()).spawn().unwrap());
    let mut answer = String::new();
    assert_eventually!(TcpStream::connect(at).is_ok_and(|mut stream| {
        answer.clear();
        let asked =
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        asked.is_ok() && stream.read_to_string(&mut answer).is_ok()
    }));
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(activated.end().success());
}

/// A server that another program became.
struct Activated(Child);

impl Activated {
    fn end(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        self.0.wait().unwrap()
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|status| status.is_none()) {
            self.end();
        }
    }
}

/// A folder of units, and a data directory with a name that has to be quoted.
struct Units {
    folder: TempDir,
}

impl Units {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn run<const N: usize>(&self, verb: &str, args: [&str; N]) -> Outcome {
        let units = self.folder.path().join("units");
        let cli = Cli::new(Path::new(HOB)).args([verb, "--unit-dir"]);
        let cli = cli.args([units]).args(args);
        cli.env("HOB_DATA", self.data()).run()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("my 100% $data")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("units").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

const NAMES: [&str; 3] = ["hob.socket", "hob-metrics.socket", "hob.service"];

fn verify(whose: &str, files: &[PathBuf]) {
    let mut command = Command::new("systemd-analyze");
    // Where a user's systemd would have its own things.
    let runtime = tempfile::tempdir().unwrap();
    command.env("XDG_RUNTIME_DIR", runtime.path());
    let output = command.args([whose, "verify"]).args(files).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("hob"), "{said}");
}

#[test]
fn installed_units_are_what_systemd_takes() {
    if !has_programs(&["systemd-analyze"]) {
        return;
    }
    let units = Units::new();
    let flags = ["--listen", "127.0.0.1:8123", "--metrics", "127.0.0.1:8124"];
    let said = units.run("install", flags).ok();
    for name in NAMES {
        let line = format!("wrote      {}", units.path(name).display());
        assert!(said.contains(&line), "{said}");
    }
    let order = format!("enable {}", NAMES.join(" "));
    assert!(
        said.contains("daemon-reload") && said.contains(&order),
        "{said}"
    );
    assert!(said.starts_with("password   "), "{said}");
    assert!(units.data().join("hob.db").exists());
    verify("--system", &NAMES.map(|name| units.path(name)));

    let service = units.read("hob.service");
    let executable = fs::canonicalize(HOB).unwrap();
    for expected in [
        "Type=notify\n",
        "Restart=always\n",
        "Sockets=hob.socket hob-metrics.socket\n",
        &format!("ExecStart={} up \"--data=", executable.display()),
        "/my 100%% $$data\" --config=/dev/null --listen=127.0.0.1:8123 --metrics=127.0.0.1:8124\n",
    ] {
        assert!(service.contains(expected), "{expected}: {service}");
    }
    let socket = units.read("hob.socket");
    assert!(socket.contains("ListenStream=127.0.0.1:8123\nFileDescriptorName=calls\n"));
    let socket = units.read("hob-metrics.socket");
    assert!(socket.contains("ListenStream=127.0.0.1:8124\nFileDescriptorName=metrics\n"));

    // Again: nothing changes, and the password was shown.
    let said = units.run("install", flags).ok();
    assert_eq!(said.matches("unchanged").count(), NAMES.len(), "{said}");
    assert!(!said.contains("password"), "{said}");
    let said = units.run("install", ["--metrics", "off"]).ok();
    assert!(said.contains("removed    "), "{said}");
    assert!(!units.path("hob-metrics.socket").exists());
    verify(
        "--system",
        &["hob.socket", "hob.service"].map(|name| units.path(name)),
    );

    let said = units.run("uninstall", []).ok();
    assert!(said.contains("functions and secrets stay in "), "{said}");
    assert_eq!(
        fs::read_dir(units.path("..").join("units"))
            .unwrap()
            .count(),
        0
    );
    assert!(units.data().join("hob.db").exists());
    let said = units.run("uninstall", []).ok();
    assert!(said.contains("hob is not installed in "), "{said}");
}

/// As somebody who is not root, also where the tests run as root.
#[test]
fn a_users_units_are_what_systemd_takes() {
    if !has_programs(&["systemd-analyze", "setpriv"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path(), everybody).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let executable = folder.path().join("hob");
        fs::copy(HOB, &executable).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=12345", "--regid=12345", "--clear-groups"]);
        command.arg(executable);
        command
    } else {
        Command::new(HOB)
    };
    command.args(["install", "--print", "--config", "/dev/null"]);
    command
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME");
    command.env("HOB_DATA", folder.path().join("data"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let files: Vec<_> = said.split("# /").skip(1).collect();
    assert_eq!(files.len(), NAMES.len(), "{said}");
    let files: Vec<_> = files
        .into_iter()
        .map(|file| {
            let (path, text) = file.split_once('\n').unwrap();
            let name = path.rsplit_once("/.config/systemd/user/").unwrap().1;
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        })
        .collect();
    verify("--user", &files);
    assert!(said.contains("\nDelegate=yes\n"), "{said}");
    assert!(said.contains("\nWantedBy=default.target\n"), "{said}");
}

#[test]
fn a_unit_that_somebody_edited_is_left_alone() {
    let units = Units::new();
    units.run("install", []).ok();
    let path = units.path("hob.service");
    let edited = units.read("hob.service").replace("500ms", "5s");
    fs::write(&path, &edited).unwrap();
    let socket = units.read("hob.socket");
    for verb in ["install", "uninstall"] {
        let line = units.run(verb, []).fails(1);
        assert!(line.contains(&path.display().to_string()), "{line}");
        assert!(line.contains("systemctl edit hob.service"), "{line}");
    }
    assert_eq!(units.read("hob.service"), edited);
    assert_eq!(units.read("hob.socket"), socket);
}

#[test]
fn what_cannot_be_a_service_is_refused_before_anything_is_written() {
    let units = Units::new();
    for args in [["--listen", "127.0.0.1:0"], ["--metrics", "127.0.0.1:0"]] {
        let line = units.run("install", args).fails(64);
        assert!(line.contains("127.0.0.1:0"), "{line}");
    }
    let said = units.run("install", ["--print"]).ok();
    assert!(said.contains("[Service]\n"), "{said}");
    assert_eq!(fs::read_dir(units.folder.path()).unwrap().count(), 0);
}
