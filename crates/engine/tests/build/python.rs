//! What a Python handler may do.

use std::io::Read;

use crate::{client::read_answer, program::eventually, workshop::Workshop};

/// A handler that answers the path `/N` with the Nth of these, and what must come of it.
const SHAPES: [(&str, u16, &str, &str); 16] = [
    ("'text'", 200, "text/plain; charset=utf-8", "text"),
    ("b'\\x00'", 200, "application/octet-stream", "\0"),
    ("None", 200, "", ""),
    ("{'a': 1}", 200, "application/json", "{\"a\": 1}"),
    ("[1, 'ü']", 200, "application/json", "[1, \"\\u00fc\"]"),
    ("42", 200, "application/json", "42"),
    ("('no', 404)", 404, "text/plain; charset=utf-8", "no"),
    ("({'e': 1}, 400)", 400, "application/json", "{\"e\": 1}"),
    (
        "('<p>', {'Content-Type': 'text/html'})",
        200,
        "text/html",
        "<p>",
    ),
    (
        "('<p>', 201, {'content-type': 'text/html'})",
        201,
        "text/html",
        "<p>",
    ),
    ("('', 204)", 204, "text/plain; charset=utf-8", ""),
    (
        "{'statusCode': 418, 'body': 'tea', 'headers': {'Content-Type': 'x/y'}}",
        418,
        "x/y",
        "tea",
    ),
    (
        "{'statusCode': 200, 'body': {'a': [1]}}",
        200,
        "application/json",
        "{\"a\": [1]}",
    ),
    (
        "(str(n) for n in range(3))",
        200,
        "text/plain; charset=utf-8",
        "012",
    ),
    (
        "(iter([b'a', b'', b'b']), 202, {'Content-Type': 'x/z'})",
        202,
        "x/z",
        "ab",
    ),
    ("later()", 200, "text/plain; charset=utf-8", "later"),
];

#[test]
fn every_shape_of_an_answer() {
    let mut source = "async def later():\n    return 'later'\n\ndef handle(req):\n".to_owned();
    for (number, (shape, ..)) in SHAPES.iter().enumerate() {
        source += &format!("    if req.path == '/{number}':\n        return {shape}\n");
    }
    let workshop = Workshop::new();
    let program = workshop.start("shapes", &[("handler.py", &source)]);
    for (number, (shape, status, kind, body)) in SHAPES.into_iter().enumerate() {
        let answer = program.call("POST", &format!("/{number}"), "");
        let found = (
            answer.status,
            answer.header("content-type").unwrap_or(""),
            answer.text(),
        );
        assert_eq!(found, (status, kind, body), "{shape}");
    }
}

#[test]
fn both_forms_of_a_handler_see_the_whole_request() {
    let workshop = Workshop::new();
    let show = "r.body, r.text, r.method, r.path, r.query, r.headers['X-CALL-ID'], r.headers.get('none', 'no')";
    for (form, signature) in [("one", "r"), ("two", "r, context")] {
        let source = format!("def handle({signature}):\n    return repr(({show}))\n");
        let program = workshop.start(form, &[("handler.py", &source)]);
        let answer = program.call("PUT", "/a/b?c=d&c=e&f", "b\u{fc}");
        assert_eq!(
            answer.text(),
            "(b'b\\xc3\\xbc', 'bü', 'PUT', '/a/b', {'c': 'd', 'f': ''}, '7', 'no')"
        );
    }
    let program = workshop.start(
        "text",
        &[(
            "handler.py",
            "import json\ndef handle(req):\n    return [req.upper(), json.loads(req), req.json()]\n",
        )],
    );
    assert_eq!(
        program.post("{\"a\": 1}").text(),
        "[\"{\\\"A\\\": 1}\", {\"a\": 1}, {\"a\": 1}]"
    );
    let program = workshop.start(
        "context",
        &[(
            "handler.py",
            "def handle(event, context):\n    return context.function\n",
        )],
    );
    assert_eq!(program.post("").text(), "hello");
}

#[test]
fn a_failure_is_told_in_one_line_and_logged_in_full() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "fails",
        &[(
            "handler.py",
            "def handle(req):\n    if req == 'header':\n        return 'x', {'A': 'b\\r\\nSet-Cookie: evil'}\n    return {}['missing key']\n",
        )],
    );
    let answer = program.post("");
    assert_eq!(
        (answer.status, answer.text()),
        (500, "handler failed: see `hob logs hello`\n")
    );
    assert!(
        program.log().contains("KeyError: 'missing key'"),
        "{}",
        program.log()
    );
    let answer = program.post("header");
    assert_eq!((answer.status, answer.header("set-cookie")), (500, None));
}

#[test]
fn a_stream_arrives_piece_by_piece_and_a_broken_one_is_not_whole() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "streams",
        &[(
            "handler.py",
            "import os\ndef handle(req):\n    yield 'first'\n    if req.path == '/broken':\n        raise ValueError('broke')\n    \
             while not os.path.exists(req.text):\n        pass\n    yield 'second'\n",
        )],
    );
    let flag = tempfile::tempdir().unwrap();
    let flag = flag.path().join("go");
    let name = flag.to_str().unwrap();
    let mut stream = program.open(&format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    ));
    let mut seen = Vec::new();
    while !seen.ends_with(b"5\r\nfirst\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    std::fs::write(&flag, "").unwrap();
    let mut rest = vec![0; "6\r\nsecond\r\n0\r\n\r\n".len()];
    stream.read_exact(&mut rest).unwrap();
    assert_eq!(rest, b"6\r\nsecond\r\n0\r\n\r\n");
    let mut broken = Vec::new();
    program
        .open("GET /broken HTTP/1.1\r\n\r\n")
        .read_to_end(&mut broken)
        .unwrap();
    assert!(
        broken.ends_with(b"first\r\n"),
        "{}",
        String::from_utf8_lossy(&broken)
    );
}

#[test]
fn a_slow_call_holds_up_nobody_and_is_finished_on_sigterm() {
    let workshop = Workshop::new();
    let mut program = workshop.start(
        "slow",
        &[(
            "handler.py",
            "import os, time\ndef handle(req):\n    if req:\n        print('waiting')\n        while not os.path.exists(req):\n            \
             time.sleep(0.005)\n    return 'done'\n",
        )],
    );
    let flag = tempfile::tempdir().unwrap();
    let flag = flag.path().join("go");
    let name = flag.to_str().unwrap();
    let request = format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    );
    let mut slow = program.open(&request);
    eventually("the slow call has begun", || {
        program.log().contains("waiting")
    });
    assert_eq!(program.post("").text(), "done");
    program.terminate();
    std::fs::write(&flag, "").unwrap();
    assert_eq!(read_answer(&mut slow, false).text(), "done");
    assert!(program.wait().success());
}

#[test]
fn what_is_no_http_is_refused() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "strict",
        &[("handler.py", "def handle(req):\n    return req\n")],
    );
    for (request, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/9.9\r\n\r\n", 400),
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
            400,
        ),
        ("GET / HTTP/1.1\r\nBad Name: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n folded: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\n\r\n", 200),
        ("\r\nGET / HTTP/1.1\r\n\r\n", 200),
    ] {
        assert_eq!(program.raw(request).status, status, "{request}");
    }
    let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(70_000));
    assert_eq!(program.raw(&long).status, 431);
}

#[test]
fn a_connection_serves_many_calls() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "kept",
        &[("handler.py", "def handle(req):\n    return req\n")],
    );
    let mut stream = program.open("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\naPOST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nb");
    assert_eq!(read_answer(&mut stream, false).text(), "a");
    assert_eq!(read_answer(&mut stream, false).text(), "b");
}

#[test]
fn the_bundle_is_compiled_and_needs_no_writing() {
    let workshop = Workshop::new();
    let folder = workshop.folder(
        "compiled",
        &[
            (
                "handler.py",
                "import part\ndef handle(req):\n    return part.WORD\n",
            ),
            ("part.py", "WORD = 'hi'\n"),
        ],
    );
    let revision = workshop.revision(&folder);
    let compiled = std::fs::read_dir(workshop.bundle(&revision).join("__pycache__")).unwrap();
    let compiled: Vec<_> = compiled
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for module in ["handler", "part", "call", "serve"] {
        assert!(
            compiled
                .iter()
                .any(|name| name.starts_with(&format!("{module}."))),
            "{module}: {compiled:?}"
        );
    }
}
