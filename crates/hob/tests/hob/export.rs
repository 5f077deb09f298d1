//! An exported function needs no hob.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
};

use hob_testkit::{assert_eventually, has_programs};

use crate::bench::{Bench, write};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn post(port: u16, body: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let length = body.len();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn it_runs_from_its_folder_alone() {
    if !has_programs(&["python3"]) {
        return;
    }
    let mut bench = Bench::new();
    bench.deploy(&bench.python("hello", "return f'Free, {req}'"));
    let out = bench.folder.path().join("out");
    let said = bench
        .hob
        .cli(["export", "hello", out.to_str().unwrap()])
        .ok();
    assert!(
        said.starts_with("hello is in ") && said.contains("README.md"),
        "{said}"
    );
    bench.hob.stop();

    for file in [
        "README.md",
        "Dockerfile",
        "compose.yaml",
        "hello.service",
        "run.sh",
    ] {
        assert!(out.join(file).is_file(), "no {file}");
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let child = Command::new("./run.sh")
        .current_dir(&out)
        .env("PORT", port.to_string())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let _running = Running(child);
    assert_eventually!(
        post(port, "Mina").is_some_and(|answer| answer.ends_with("Free, Mina")),
        "the exported function answers"
    );
}

#[test]
fn a_folder_with_something_in_it_is_left_alone() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "hi"));
    let out = bench.folder.path().join("out");
    write(&out.join("mine"), "mine");
    let line = bench
        .hob
        .cli(["export", "welcome", out.to_str().unwrap()])
        .fails(1);
    assert!(line.contains("is not empty"), "{line}");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
    let line = bench
        .hob
        .cli(["export", "welcome", out.join("mine").to_str().unwrap()])
        .fails(1);
    assert!(line.contains("is not a folder"), "{line}");
}
