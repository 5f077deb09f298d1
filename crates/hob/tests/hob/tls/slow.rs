use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{can_test, curl, doors, with_tls};

/// How long a handshake may take, and a little more.
const HANDSHAKE: Duration = Duration::from_secs(13);
/// Of each kind.
const CLIENTS: usize = 40;

/// Reads until the server hangs up; how long that took.
fn until_the_end(mut stream: TcpStream, said: &mut Vec<u8>) -> Duration {
    let began = Instant::now();
    stream.set_read_timeout(Some(HANDSHAKE * 2)).unwrap();
    // A reset is an end too.
    let _ = stream.read_to_end(said);
    began.elapsed()
}

#[test]
fn silence_and_junk_are_hung_up_on_while_others_are_served() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hob = with_tls(folder.path(), "own = true").start();
    let root = hob.data().join("pki/ca.pem");
    let (tls, _) = doors(&hob);
    let connect = || TcpStream::connect(tls).unwrap();
    // The begin of a hello of 500 bytes that never ends.
    let begun = b"\x16\x03\x01\x01\xf4\x01\x00\x01\xf0";
    let mut waiting = Vec::new();
    for _ in 0..CLIENTS {
        let mut half = connect();
        half.write_all(begun).unwrap();
        waiting.extend([connect(), half]);
    }
    let waiting: Vec<_> = waiting
        .into_iter()
        .map(|stream| thread::spawn(move || until_the_end(stream, &mut Vec::new())))
        .collect();

    let junk: [&[u8]; 4] = [
        b"\x80\x2e\x01\x00\x02",
        b"\x16\x03\x01\xff\xff\x01\xff\xff\xff",
        b"\x16\x03\x01\x00\x05hello",
        b"\x00\x00\x00\x00",
    ];
    for bytes in junk {
        let mut stream = connect();
        stream.write_all(bytes).unwrap();
        stream.write_all(&[0x5a; 70_000]).ok();
        assert!(
            until_the_end(stream, &mut Vec::new()) < HANDSHAKE,
            "{bytes:?}"
        );
    }
    let mut plain = connect();
    plain
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut said = Vec::new();
    until_the_end(plain, &mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(
        said.starts_with("HTTP/1.1 400") && said.contains("https://"),
        "{said}"
    );

    let got = curl(tls, &root, "https://localhost/healthz", &[]);
    assert!(got.ok().contains("200"));
    for one in waiting {
        let took = one.join().unwrap();
        assert!(took < HANDSHAKE, "{took:?}");
    }
    let got = curl(tls, &root, "https://localhost/healthz", &[]);
    assert!(got.ok().contains("200"));
}

/// What the server says by TLS to these bytes, until it hangs up.
fn said(tls: SocketAddr, bytes: &str) -> String {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-connect", &tls.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It is open until the server hangs up.
    let mut input = client.stdin.take().unwrap();
    input.write_all(bytes.as_bytes()).unwrap();
    let output = client.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_first_head_by_tls_is_watched_as_all_others() {
    if !can_test() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hob = with_tls(folder.path(), "own = true\n[limits]\nhead_timeout = \"1s\"").start();
    let (tls, redirect) = doors(&hob);
    let both = "POST /function/none HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = said(tls, both);
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("both Content-Length"),
        "{answer}"
    );
    // Half a head keeps a connection for no longer than any.
    let began = Instant::now();
    said(tls, &both[..40]);
    let mut half = TcpStream::connect(redirect).unwrap();
    half.write_all(&both.as_bytes()[..40]).unwrap();
    until_the_end(half, &mut Vec::new());
    assert!(began.elapsed() < HANDSHAKE, "{:?}", began.elapsed());
}
