//! Who gets in.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
};

use hob_testkit::{Hob, assert_eventually};
use serde_json::json;

use super::client::{Archive, nothing_is_left, send, server, sign};
use crate::bench::{HOB, write};

/// What comes back on a connection for a head, byte for byte.
fn raw(mut stream: impl Read + Write, head: &str) -> String {
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The owner asks at the local socket.
fn local(hob: &Hob, path: &str) -> String {
    let socket = hob.data().join("run/hob.sock");
    let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    raw(UnixStream::connect(socket).unwrap(), &head)
}

#[test]
fn without_a_payload_secret_there_is_no_builder() {
    let hob = Hob::start(HOB);
    let body = Archive::of(&json!({"image": "x:1"}), "FROM scratch\n").bytes();
    let signature = sign(&body);
    let answer = send(&hob, body.clone(), Some(&signature), "*/*").expect(401);
    assert_eq!(answer.header("www-authenticate"), "X-Build-Signature");
    hob.get("/publickey").expect(401);
    let cure = local(&hob, "/publickey");
    assert!(
        cure.starts_with("HTTP/1.1 404")
            && cure.contains("hob secret set payload-secret --namespace openfaas"),
        "{cure}"
    );
    // One that can be guessed is none.
    let set = ["secret", "set", "payload-secret", "--namespace", "openfaas"];
    hob.command().args(set).stdin("tiny").run().ok();
    send(&hob, body, Some(&signature), "*/*").expect(401);
    let cure = local(&hob, "/publickey");
    assert!(cure.contains("shorter than 16 bytes"), "{cure}");
    // No key was made for anybody.
    let keys = hob.data().join("secrets/openfaas/builder-key.age");
    assert!(!keys.exists());
    nothing_is_left(&hob);
}

#[test]
fn only_who_knows_the_payload_secret_gets_in() {
    let hob = server();
    let body = Archive::of(&json!({"image": "x:1", "skipPush": true}), "FROM x\n").bytes();
    let other = sign(b"something else");
    let digits = sign(&body).replace("sha256=", "");
    for signature in [
        None,
        Some(""),
        Some("sha256="),
        Some(&*digits),
        Some("sha256=zz"),
        Some(&*other),
    ] {
        for accept in ["*/*", "application/x-ndjson"] {
            let answer = send(&hob, body.clone(), signature, accept).expect(401);
            let text = answer.text();
            assert!(
                text.contains("X-Build-Signature") && text.lines().count() == 1,
                "{text}"
            );
        }
    }
    // Too large, and said before it comes.
    let length = (256 << 20) + 1;
    let head = format!(
        "POST /build HTTP/1.1\r\nHost: x\r\nX-Build-Signature: {other}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(TcpStream::connect(hob.address()).unwrap(), &head);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    nothing_is_left(&hob);

    // The key is for everybody, and stays the same.
    let key = hob.get("/publickey").expect(200).json();
    assert_eq!(hob.get("/publickey").expect(200).json(), key);
    assert!(local(&hob, "/publickey").contains(key["public_key"].as_str().unwrap()));
    hob.post("/publickey", "").expect(405);
    hob.get("/build").expect(405);
}

#[test]
fn strangers_can_fill_neither_the_disk_nor_the_queue() {
    let hob = server();
    let other = sign(b"something else");
    let head = format!(
        "POST /build HTTP/1.1\r\nHost: x\r\nX-Build-Signature: {other}\r\nContent-Length: 9\r\n\r\nhalf"
    );
    let connections: Vec<_> = (0..17)
        .map(|_| {
            let mut stream = TcpStream::connect(hob.address()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let refused = |mut stream: &TcpStream| {
        let mut start = [0; 12];
        stream.read_exact(&mut start).is_ok() && start == *b"HTTP/1.1 429"
    };
    assert_eventually!(connections.iter().any(refused), "one is too many");
    let uploads = || std::fs::read_dir(hob.data().join("tmp")).unwrap().count();
    assert_eventually!(uploads() == 4, "four come in at a time");
    drop(connections);
    assert_eventually!(uploads() == 0, "who leaves, leaves nothing");
    let body = Archive::default().bytes();
    let signature = sign(&body);
    assert_eventually!(
        send(&hob, body.clone(), Some(&signature), "*/*").status == 400,
        "there is room again"
    );
}

#[test]
fn no_function_gets_at_the_builders_secrets() {
    let hob = server();
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("spy");
    write(&place.join("index.html"), "hi");
    let place = place.to_str().unwrap();
    let args = ["deploy", place, "--namespace", "openfaas"];
    let line = hob.cli(args).fails(1);
    assert!(line.contains("namespace `openfaas` is reserved"), "{line}");
}
