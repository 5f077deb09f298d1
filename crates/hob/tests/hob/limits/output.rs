//! Answers that are larger than `limits.output`, by the express lane and by hyper.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use super::{assert_end, bench};

const OUTPUT: &str = "\
if req == 'declared': return b'x' * (1 << 21)
if req == 'stream': return (b'x' * 65536 for _ in range(1000))
return b'x' * (1 << 20)";

/// Plain calls of a function without CORS take the lane, all others hyper's way.
const WAYS: [(&str, &str); 2] = [("plain", ""), ("wide", "cors = \"*\"\n")];
const LIMIT: &str = "[limits]\noutput = \"1Mi\"\n";
/// Longest wait for a byte.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn an_answer_that_says_it_is_too_large_ends_with_output() {
    let Some(bench) = bench(&[]) else { return };
    for (name, way) in WAYS {
        bench.limited(name, OUTPUT, &format!("{way}{LIMIT}"));
        let replica = bench.replica(name);
        let whole = bench.hob.get(&format!("/function/{name}")).expect(200);
        assert_eq!(whole.body.len(), 1 << 20);
        let path = format!("/function/{name}");
        let answer = bench.beside_neighbour(|| bench.hob.post(&path, "declared"));
        assert_end(&answer, 502, "output");
        bench.assert_ended(name, &replica, "output");
    }
}

#[test]
fn an_answer_that_goes_on_too_long_is_cut() {
    let Some(bench) = bench(&[]) else { return };
    for (name, way) in WAYS {
        bench.limited(name, OUTPUT, &format!("{way}{LIMIT}"));
        let replica = bench.replica(name);
        let bytes = bench.beside_neighbour(|| {
            let mut stream = TcpStream::connect(bench.hob.address()).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let request = format!(
                "POST /function/{name} HTTP/1.1\r\nHost: hob\r\nContent-Length: 6\r\n\r\nstream"
            );
            stream.write_all(request.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            // It may be reset as well as closed.
            let _ = stream.read_to_end(&mut bytes);
            bytes
        });
        assert!(bytes.starts_with(b"HTTP/1.1 200 OK\r\n"), "{name}");
        assert!(!bytes.ends_with(b"0\r\n\r\n"), "{name} looks complete");
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let body = &bytes[head.unwrap()..];
        let body = body.iter().filter(|byte| **byte == b'x').count();
        assert!((1..=1 << 20).contains(&body), "{name}: {body} bytes");
        bench.assert_ended(name, &replica, "output");
    }
}
