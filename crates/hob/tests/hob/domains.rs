//! Functions by host names of their own.

use bytes::Bytes;
use hob_testkit::{Answer, Hob, has_programs};
use http::{Request, header};

use crate::bench::{Bench, write};

fn get(hob: &Hob, host: &str, path: &str) -> Answer {
    let request = Request::get(path).header(header::HOST, host);
    hob.send(request.body(Bytes::new()).unwrap())
}

#[test]
fn a_function_answers_at_its_domains() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let body = "h = req.headers\nreturn f'{req.path} {h.get(\"x-forwarded-host\")} {h.get(\"x-forwarded-prefix\")}'";
    let folder = bench.python("covers", body);
    let manifest = "domain = [\"covers.example.net\", \"Example.net/shop/\"]\n";
    write(&folder.join("hob.toml"), manifest);
    let said = bench.deploy(&folder);
    let live = format!(
        "covers is live at {}/function/covers, covers.example.net, example.net/shop (",
        hob.url()
    );
    assert!(said.starts_with(&live), "{said}");

    for (host, path, expected) in [
        ("covers.example.net", "/a?b", "/a covers.example.net None"),
        (
            "COVERS.example.net:80",
            "/hob/v1/status",
            "/hob/v1/status COVERS.example.net:80 None",
        ),
        ("example.net", "/shop/a", "/a example.net /shop"),
        ("example.net", "/function/covers/a", "/a example.net None"),
    ] {
        let answer = get(hob, host, path).expect(200);
        assert_eq!(answer.text(), expected, "{host}{path}");
    }
    // No password opens the API on a host that is all the function's.
    let login = Request::get("/hob/v1/status").header(header::HOST, "covers.example.net");
    let login = login.header("x-hob-caller", "admin");
    let answer = hob.send(login.body(Bytes::new()).unwrap()).expect(200);
    assert!(answer.text().starts_with("/hob/v1/status "), "{answer:?}");
    get(hob, "example.net", "/hob/v1/status").expect(401);
    get(hob, "example.net", "/healthz").expect(200);

    let shown = hob.cli(["describe", "covers"]).ok();
    for domain in ["covers.example.net", "example.net/shop"] {
        let line = shown.lines().find(|line| line.ends_with(domain));
        assert!(
            line.is_some_and(|line| line.starts_with("domain ")),
            "{shown}"
        );
    }
    let list = hob.cli(["list", "-o", "json"]).json();
    let expected = serde_json::json!(["covers.example.net", "example.net/shop"]);
    assert_eq!(list[0]["domains"], expected);

    let again = hob
        .cli(["deploy", folder.to_str().unwrap(), "-o", "json"])
        .json();
    assert_eq!(again[0]["domains"], expected);

    // Another one cannot have it, until it is free.
    let other = bench.site("other", "<p>other</p>");
    write(&other.join("hob.toml"), "domain = \"covers.example.net\"\n");
    let line = hob.cli(["deploy", other.to_str().unwrap()]).fails(1);
    let expected = "domain `covers.example.net` is function `covers`'s";
    assert!(line.contains(expected), "{line}");
    let line = get(hob, "covers.example.net", "/").expect(200);
    assert!(line.text().starts_with("/ "), "{line:?}");
    hob.cli(["remove", "covers"]).ok();
    get(hob, "covers.example.net", "/").expect(401);
    bench.deploy(&other);
    let answer = get(hob, "covers.example.net", "/").expect(200);
    assert_eq!(answer.text(), "<p>other</p>");
}

#[test]
fn a_site_is_at_home_at_its_domain_also_after_a_restart() {
    let mut bench = Bench::new();
    let site = bench.site("www", "<p>home</p>");
    write(&site.join("docs/index.html"), "<p>docs</p>");
    let manifest = "domain = [\"www.example.net\", \"example.net/www\"]\n";
    write(&site.join("hob.toml"), manifest);
    bench.deploy(&site);
    for _ in 0..2 {
        let hob = &bench.hob;
        let pages = [
            ("www.example.net", "/", "<p>home</p>"),
            ("www.example.net", "/docs/", "<p>docs</p>"),
            ("example.net", "/www/", "<p>home</p>"),
        ];
        for (host, path, page) in pages {
            assert_eq!(get(hob, host, path).expect(200).text(), page);
        }
        for (host, path, to) in [
            ("www.example.net", "/docs", "/docs/"),
            ("example.net", "/www", "/www/"),
            ("example.net", "/www/docs", "/www/docs/"),
        ] {
            assert_eq!(get(hob, host, path).expect(307).header("location"), to);
        }
        bench.hob.kill();
        bench.hob.restart();
    }
}

#[test]
fn a_domain_that_is_none_is_told_before_anything_is_sent() {
    let bench = Bench::new();
    let site = bench.site("www", "<p>home</p>");
    for (text, expected) in [
        ("3", "integer `3`, expected a text, or a list of texts"),
        (
            "[\"http://x\"]",
            "`http://x` is no domain: write a host name",
        ),
        ("\"example.net:8080\"", "`example.net:8080` is no domain"),
    ] {
        write(&site.join("hob.toml"), &format!("domain = {text}\n"));
        let line = bench.hob.cli(["deploy", site.to_str().unwrap()]).fails(1);
        assert!(
            line.contains("hob.toml") && line.contains(expected),
            "{line}"
        );
    }
}
