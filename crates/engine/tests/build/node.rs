//! What a Node handler may do.

use crate::workshop::Workshop;

const SHAPES: [(&str, u16, &str, &str); 8] = [
    ("'text'", 200, "text/plain; charset=utf-8", "text"),
    ("Buffer.from('b')", 200, "application/octet-stream", "b"),
    ("undefined", 200, "", ""),
    ("({ a: 1 })", 200, "application/json", "{\"a\":1}"),
    (
        "({ statusCode: 418, body: 'tea', headers: { 'Content-Type': 'x/y' } })",
        418,
        "x/y",
        "tea",
    ),
    (
        "new Response('web', { status: 201 })",
        201,
        "text/plain;charset=UTF-8",
        "web",
    ),
    (
        "(async function* () { yield 'a'; yield 'b'; })()",
        200,
        "text/plain; charset=utf-8",
        "ab",
    ),
    (
        "Promise.reject(new Error('broke'))",
        500,
        "text/plain; charset=utf-8",
        "handler failed: see `hob logs hello`\n",
    ),
];

#[test]
fn every_shape_of_an_answer() {
    let cases: String = SHAPES
        .iter()
        .enumerate()
        .map(|(number, (shape, ..))| format!("    case '/{number}': return {shape};\n"))
        .collect();
    let source =
        format!("module.exports = (req) => {{\n  switch (req.path) {{\n{cases}  }}\n}};\n");
    let workshop = Workshop::new();
    let program = workshop.start("shapes", &[("handler.js", &source)]);
    for (number, (shape, status, kind, body)) in SHAPES.into_iter().enumerate() {
        let answer = program.call("POST", &format!("/{number}"), "");
        let found = (
            answer.status,
            answer.header("content-type").unwrap_or(""),
            answer.text(),
        );
        assert_eq!(found, (status, kind, body), "{shape}");
    }
    assert!(program.log().contains("Error: broke"), "{}", program.log());
}

/// Node loads it when somebody names `fetch` or `Response`, which takes longer than to start.
#[test]
fn what_a_handler_does_not_use_is_not_loaded() {
    let workshop = Workshop::new();
    let source = "module.exports = () => process.moduleLoadList.filter((name) => name.includes('undici')).join();";
    let program = workshop.start("loaded", &[("handler.js", source)]);
    // The second answer tells what the first one took.
    for _ in 0..2 {
        assert_eq!(program.post("").text(), "");
    }
}

#[test]
fn modules_of_both_kinds_and_the_openfaas_form() {
    let workshop = Workshop::new();
    for (name, file, source) in [
        (
            "esm",
            "handler.mjs",
            "export default (req) => `${req.method} ${req.query.a} ${req.body}`;",
        ),
        (
            "commonjs",
            "handler.js",
            "exports.handle = async (req) => `${req.method} ${req.query.a} ${req.body}`;",
        ),
        (
            "context",
            "handler.js",
            "module.exports = async (event, context) => context.status(200).succeed(`${event.method} ${event.query.a} ${event.body}`);",
        ),
    ] {
        let source = source.replace(".status(200).succeed", ".status(200) && context.succeed");
        let program = workshop.start(name, &[(file, &source)]);
        assert_eq!(
            program.call("PUT", "/?a=b", "body").text(),
            "PUT b body",
            "{name}"
        );
    }
    let program = workshop.start(
        "package",
        &[
            ("handler.js", "export default (req) => req.body;"),
            ("package.json", "{\"type\": \"module\"}"),
        ],
    );
    assert_eq!(program.post("esm").text(), "esm");
}

#[test]
fn a_mistake_is_shown_by_the_build() {
    let workshop = Workshop::new();
    let outcome = workshop
        .build(&workshop.folder("mistake", &[("handler.js", "module.exports = (req => {")]));
    assert!(
        outcome.output().contains("SyntaxError"),
        "{}",
        outcome.output()
    );
    workshop.assert_no_leftovers();
}
