//! The access log: off by default, in a file that other programs read, rotate and cannot be fooled by.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use bytes::Bytes;
use hob_testkit::{Cli, Hob, assert_eventually, has_programs};
use http::Request;
use serde_json::Value;

use crate::bench::{Bench, HOB, write};

fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A server that logs to a file beside its functions, and that file's path.
fn bench(more: &str) -> (Bench, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let config = folder.path().join("config.toml");
    write(&config, &format!("[access_log]\npath = {path:?}\n{more}"));
    let hob = Hob::builder(HOB)
        .args([std::ffi::OsStr::new("--config"), config.as_os_str()])
        .start();
    (Bench { hob, folder }, path)
}

#[test]
fn every_request_is_in_the_log_and_no_query_is() {
    let (bench, path) = bench("format = \"json\"\n");
    bench.deploy(&bench.site("hello", "here"));
    bench.hob.get("/function/hello/?token=geheim").expect(200);
    bench.hob.get("/function/nobody").expect(404);
    bench.hob.get("/system/functions").expect(401);
    let read = || -> Vec<Value> {
        let lines = lines(&path);
        lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    assert_eventually!(read().len() == 3);
    assert!(!fs::read_to_string(&path).unwrap().contains("geheim"));
    let of = |status: u64| {
        let lines = read();
        let found = lines.iter().find(|line| line["status"] == status);
        found.unwrap().clone()
    };
    let call = of(200);
    assert_eq!(call["path"], "/function/hello/");
    assert_eq!(call["function"], "hello.openfaas-fn");
    assert_eq!(
        (&call["address"], &call["bytes"]),
        (&"127.0.0.1".into(), &4.into())
    );
    assert!(call["seconds"].as_f64().unwrap() < 60.0 && call["id"].is_string());
    assert_eq!(of(401)["path"], "/system/functions");
    assert_eq!(of(404)["function"], Value::Null);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o007, 0, "{mode:o}");
}

#[test]
fn a_rotated_log_goes_on_and_a_stopped_server_leaves_nothing_behind() {
    let (mut bench, path) = bench("query = true\n");
    bench.deploy(&bench.site("hello", "here"));
    bench.hob.get("/function/hello/?a=1").expect(200);
    assert_eventually!(lines(&path).len() == 1);
    let line = &lines(&path)[0];
    assert!(
        line.starts_with("127.0.0.1 - - [")
            && line.contains("\"GET /function/hello/?a=1 HTTP/1.1\" 200 4 ")
    );
    let moved = path.with_extension("log.1");
    fs::rename(&path, &moved).unwrap();
    assert_eventually!(path.exists());
    bench.hob.get("/function/hello/?a=2").expect(200);
    // The last line is written before the server has ended.
    bench.hob.stop();
    let line = &lines(&path)[0];
    assert!(line.contains("?a=2"), "{line}");
    assert_eq!((lines(&path).len(), lines(&moved).len()), (1, 1));
}

#[test]
fn fail2ban_reads_it() {
    if !has_programs(&["fail2ban-regex"]) {
        return;
    }
    let (bench, path) = bench("");
    for (path, agent, status) in [
        ("/system/functions", "curl", 401),
        (
            "/system/functions",
            "203.0.113.9 - - [x] \"GET / HTTP/1.1\" 200 1",
            401,
        ),
        ("/function/nobody", "\" 401 ", 404),
    ] {
        let request = Request::get(path).header("User-Agent", agent);
        let answer = bench.hob.send(request.body(Bytes::new()).unwrap());
        assert_eq!(answer.status, status);
    }
    assert_eventually!(lines(&path).len() == 3);
    let filter = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/fail2ban/filter.d/hob-access.conf"
    );
    let found = Command::new("fail2ban-regex")
        .arg(&path)
        .arg(filter)
        .output();
    let found = String::from_utf8(found.unwrap().stdout).unwrap();
    assert!(
        found.contains("3 lines, 0 ignored, 2 matched, 1 missed"),
        "{found}"
    );
}

#[test]
fn callers_cannot_forge_lines() {
    let (bench, path) = bench("");
    let mut stream = TcpStream::connect(bench.hob.address()).unwrap();
    let request = b"GET /function/a\"%0A HTTP/1.1\r\nHost: h\r\nUser-Agent: x\" 200 \x1b[2J\xff\r\nConnection: close\r\n\r\n";
    // A control character in a field is refused by the parser; what is left must not be read in
    // two ways.
    let request: Vec<u8> = request
        .iter()
        .copied()
        .filter(|byte| *byte != 0x1b)
        .collect();
    stream.write_all(&request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eventually!(lines(&path).len() == 1);
    let line = &lines(&path)[0];
    assert!(
        line.contains("\"GET /function/a\\x22%0A HTTP/1.1\" 404 "),
        "{line}"
    );
    assert!(line.contains("\"x\\x22 200 [2J\\xFF\""), "{line}");
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_that_names_it() {
    let data = tempfile::tempdir().unwrap();
    let config = data.path().join("config.toml");
    write(
        &config,
        "[access_log]\npath = \"/nonexistent/access.log\"\n",
    );
    let up = Cli::new(Path::new(HOB))
        .args([
            "up",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "off",
            "--data",
        ])
        .args([data.path()])
        .args([std::ffi::OsStr::new("--config"), config.as_os_str()]);
    let line = up.run().fails(1);
    assert!(
        line.contains("access log /nonexistent/access.log: No such file"),
        "{line}"
    );
}
