//! As a service of systemd.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::Command,
};

use hob_testkit::{Hob, has_programs};
use serde_json::Value;

use crate::bench::{Bench, HOB};

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
        "warning: `--listen 127.0.0.1:0` has no effect: systemd passed a socket, which listens on {at}"
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
