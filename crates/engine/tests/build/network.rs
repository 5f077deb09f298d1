//! Dependencies from the registries, by their usual clients. These tests need a network.

use crate::workshop::Workshop;

#[test]
fn python_with_a_package() {
    let workshop = Workshop::new();
    let handler = "import six\ndef handle(req):\n    return six.__name__\n";
    let program = workshop.start(
        "python",
        &[("handler.py", handler), ("requirements.txt", "six\n")],
    );
    assert_eq!(program.post("").text(), "six");
}

#[test]
fn a_program_out_of_a_package() {
    let workshop = Workshop::new();
    let app = "def app(environ, start):\n    start('200 OK', [('Content-Length', '3')])\n    return [b'yes']\n";
    let program = workshop.start(
        "gunicorn",
        &[
            ("app.py", app),
            ("requirements.txt", "gunicorn\n"),
            (
                "hob.toml",
                "run = \"gunicorn -b unix:$HOB_SOCKET app:app\"\n",
            ),
        ],
    );
    assert_eq!(program.call("GET", "/", "").text(), "yes");
}

#[test]
fn node_with_a_package() {
    let workshop = Workshop::new();
    let handler = "const isNumber = require('is-number');\nmodule.exports = (req) => String(isNumber(req.body));\n";
    let package = "{\"dependencies\": {\"is-number\": \"7.0.0\"}}";
    let program = workshop.start(
        "node",
        &[("handler.js", handler), ("package.json", package)],
    );
    assert_eq!(program.post("5").text(), "true");
}

#[test]
fn go_with_a_module() {
    let workshop = Workshop::new();
    let handler = "package function\n\nimport (\n\t\"net/http\"\n\n\t\"github.com/google/uuid\"\n)\n\n\
        func Handle(w http.ResponseWriter, r *http.Request) { w.Write([]byte(uuid.Nil.String())) }\n";
    let program = workshop.start("go", &[("handler.go", handler)]);
    assert!(program.post("").text().starts_with("00000000-"));
}

#[test]
fn rust_with_a_crate() {
    let workshop = Workshop::new();
    let handler = "pub fn handle(request: crate::Request) -> crate::Response { itoa::Buffer::new().format(request.body.len()).into() }\n";
    let program = workshop.start(
        "rust",
        &[
            ("handler.rs", handler),
            ("Cargo.toml", "[dependencies]\nitoa = \"1\"\n"),
        ],
    );
    assert_eq!(program.post("four").text(), "4");
}

#[test]
fn java_with_a_library() {
    let workshop = Workshop::new();
    let handler = "import org.apache.commons.lang3.StringUtils;\npublic class Handler {\n    public static String handle(String body) { return StringUtils.reverse(body); }\n}\n";
    let pom = "<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version><dependencies>\
        <dependency><groupId>org.apache.commons</groupId><artifactId>commons-lang3</artifactId><version>3.14.0</version></dependency></dependencies></project>";
    let program = workshop.start("java", &[("Handler.java", handler), ("pom.xml", pom)]);
    assert_eq!(program.post("abc").text(), "cba");
}
