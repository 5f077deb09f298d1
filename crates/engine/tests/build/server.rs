//! Programs that serve HTTP by themselves.

use hob_model::Run;

use crate::{program::Program, workshop::Workshop};

const PYTHON: &str = "import http.server, os\n\
    class Call(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        \
    self.end_headers()\n        self.wfile.write(b'served')\n\
    http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Call).serve_forever()\n";

#[test]
fn any_program_with_a_run_line() {
    let workshop = Workshop::new();
    for (name, file, text) in [
        ("manifest", "hob.toml", "run = \"python3 app.py\"\n"),
        ("list", "hob.toml", "run = [\"python3\", \"app.py\"]\n"),
        ("procfile", "Procfile", "release: x\nweb: python3 app.py\n"),
    ] {
        let revision =
            workshop.revision(&workshop.folder(name, &[("app.py", PYTHON), (file, text)]));
        assert_eq!(revision.language, "server");
        let program = Program::start(&revision.run, &workshop.bundle(&revision));
        assert_eq!(program.call("GET", "/", "").text(), "served", "{name}");
    }
}

#[test]
fn a_node_program_with_a_start_script() {
    let workshop = Workshop::new();
    let server = "require('node:http').createServer((q, s) => s.end(process.env.WORD)).listen(process.env.PORT, '127.0.0.1');";
    let start = "{\"scripts\": {\"start\": \"WORD=started node app.js\"}}";
    let mut program = workshop.start("start", &[("app.js", server), ("package.json", start)]);
    assert_eq!(program.call("GET", "/", "").text(), "started");
    // No shell stands between it and its signals.
    program.terminate();
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&program.wait()),
        Some(15)
    );
    let program = workshop.start("main", &[("server.js", server), ("package.json", "{}")]);
    assert_eq!(program.call("GET", "/", "").text(), "");
}

#[test]
fn go_and_rust_programs() {
    let workshop = Workshop::new();
    let go = "package main\n\nimport (\n\t\"net/http\"\n\t\"os\"\n)\n\nfunc main() {\n\thttp.ListenAndServe(\"127.0.0.1:\"+os.Getenv(\"PORT\"), \
        http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(\"go\")) }))\n}\n";
    let program = workshop.start(
        "go",
        &[
            ("go.mod", "module example.org/app\n\ngo 1.21\n"),
            ("main.go", go),
        ],
    );
    assert_eq!(program.call("GET", "/", "").text(), "go");
    let rust = "use std::{io::{Read, Write}, net::TcpListener};\nfn main() {\n    let port: u16 = std::env::var(\"PORT\").unwrap().parse().unwrap();\n    \
        for stream in TcpListener::bind((\"127.0.0.1\", port)).unwrap().incoming() {\n        let mut stream = stream.unwrap();\n        \
        let _ = stream.read(&mut [0; 1024]);\n        let _ = stream.write_all(b\"HTTP/1.1 200 OK\\r\\nContent-Length: 4\\r\\n\\r\\nrust\");\n    }\n}\n";
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    let program = workshop.start("rust", &[("Cargo.toml", manifest), ("src/main.rs", rust)]);
    assert_eq!(program.call("GET", "/", "").text(), "rust");
}

#[test]
fn a_build_of_ones_own_comes_before_the_start() {
    let workshop = Workshop::new();
    let files = [
        (
            "hob.toml",
            "build = \"sed s/served/$WORD/ app.in > app.py\"\nrun = \"exec python3 app.py\"\n[env]\nWORD = \"built\"\n",
        ),
        ("app.in", PYTHON),
    ];
    let revision = workshop.revision(&workshop.folder("built", &files));
    assert!(matches!(revision.run, Run::Process { .. }));
    let program = Program::start(&revision.run, &workshop.bundle(&revision));
    assert_eq!(program.call("GET", "/", "").text(), "built");
}
