//! What `hob new` writes builds, and greets.

use std::fs;

use hob_model::{Isolation, Run};

use crate::{program::Program, workshop::Workshop};

fn greets(language: &str, end: &str) {
    let workshop = Workshop::new();
    let folder = workshop.scaffold(language);
    let revision = workshop.revision(&folder);
    assert_eq!(revision.language, language);
    let program = Program::start(&revision.run, &workshop.bundle(&revision));
    assert_eq!(
        program.post("Dracula").text(),
        format!("Hello, Dracula!{end}")
    );
    let empty = program.call("GET", "/", "");
    assert_eq!(empty.text(), format!("Hello, world!{end}"));
    assert!(
        empty
            .header("content-type")
            .expect("has one")
            .starts_with("text/plain")
    );
    assert_eq!(program.call("HEAD", "/", "").status, 200);
    let chunked = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nDra\r\n4\r\ncula\r\n0\r\n\r\n";
    assert_eq!(program.raw(chunked).text(), format!("Hello, Dracula!{end}"));
    let again = workshop.build(&folder);
    assert_eq!(again.steps(), format!("{language}: unchanged"));
    assert_eq!(again.result.expect("builds"), revision);
    workshop.assert_no_leftovers();
}

#[test]
fn python_greets() {
    greets("python", "");
}

#[test]
fn node_greets() {
    greets("node", "");
}

#[test]
fn go_greets() {
    greets("go", "");
}

#[test]
fn rust_greets() {
    greets("rust", "");
}

#[test]
fn java_greets() {
    greets("java", "");
}

#[test]
fn bash_greets() {
    greets("bash", "\n");
}

#[test]
fn where_no_container_can_be_made_tools_run_as_processes() {
    let workshop = Workshop::with(|config| config.isolation = Some(Isolation::Process));
    for language in ["python", "bash", "node", "go"] {
        let revision = workshop.revision(&workshop.scaffold(language));
        let program = Program::start(&revision.run, &workshop.bundle(&revision));
        assert_eq!(program.post("Mina").text().trim_end(), "Hello, Mina!");
    }
    workshop.assert_no_leftovers();
}

#[test]
fn a_page_is_served_by_hob_itself() {
    let workshop = Workshop::new();
    let revision = workshop.revision(&workshop.scaffold("static"));
    assert_eq!(revision.run, Run::Static { root: ".".into() });
    let page = fs::read_to_string(workshop.bundle(&revision).join("index.html")).unwrap();
    assert!(page.contains("<title>hello</title>"), "{page}");
}

#[test]
fn a_page_may_be_made_by_the_build() {
    let workshop = Workshop::new();
    let folder = workshop.folder(
        "made",
        &[(
            "hob.toml",
            "language = \"static\"\nbuild = \"mkdir dist && echo hi > dist/index.html\"",
        )],
    );
    let revision = workshop.revision(&folder);
    assert_eq!(
        revision.run,
        Run::Static {
            root: "dist".into()
        }
    );
}

#[test]
fn a_template_of_ones_own_travels_with_the_function() {
    let workshop = Workshop::new();
    let template = workshop.folder(
        "perl-template",
        &[
            (
                "template.toml",
                "name = \"perl\"\ndescription = \"Perl\"\n[handler]\nfiles = [\"handler.pl\"]\nargv = [\"python3\", \"serve.py\"]\n",
            ),
            ("function/handler.pl", "print 'Hello from {{function}}';\n"),
            (
                "shim/serve.py",
                "import http.server, os, subprocess\n\
                 class Call(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        \
                 self.end_headers()\n        self.wfile.write(subprocess.check_output(['perl', 'handler.pl']))\n\
                 http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), Call).serve_forever()\n",
            ),
        ],
    );
    let folder = workshop.folder("own", &[]);
    let language = template.to_str().unwrap();
    let files =
        hob_engine::Templates::built_in().scaffold(language, &"greet".parse().unwrap(), &folder);
    assert_eq!(files.unwrap().len(), 4);
    let revision = workshop.revision(&folder);
    assert_eq!(revision.language, "perl");
    let program = Program::start(&revision.run, &workshop.bundle(&revision));
    assert_eq!(program.call("GET", "/", "").text(), "Hello from greet");
}
