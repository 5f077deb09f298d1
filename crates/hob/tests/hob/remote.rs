//! The control API from elsewhere: only with the password, and never shown.

use http::{Request, header};

use crate::bench::Bench;

#[test]
fn the_password_opens_the_api_over_tcp() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let site = bench.site("welcome", "<p>hi</p>");
    let url = hob.url();
    let remote = |password: &str, args: &[&str]| {
        let command = hob.command().env("HOB_DATA", "/nonexistent");
        let command = command
            .env("HOB_SERVER", &url)
            .env("HOB_PASSWORD", password);
        command.args(args).run()
    };

    let line = remote("", &["list"]).fails(5);
    assert!(
        line.contains(&url) && line.contains("HOB_PASSWORD"),
        "{line}"
    );
    let line = remote("wrong", &["list"]).fails(5);
    assert!(
        line.contains("HOB_PASSWORD") && !line.contains("wrong"),
        "{line}"
    );

    let password = hob.password().to_owned();
    let said = remote(&password, &["deploy", site.to_str().unwrap()]);
    assert!(!said.stderr.contains(&password), "{said:?}");
    let said = said.ok();
    let live = format!("welcome is live at {url}/function/welcome (");
    assert!(said.starts_with(&live), "{said}");
    assert!(remote(&password, &["list"]).ok().contains("welcome"));
    // A call is for everybody and needs no password.
    let page = remote("", &["invoke", "welcome", "-X", "GET", "--path", "/"]).ok();
    assert_eq!(page, "<p>hi</p>");
}

#[test]
fn without_login_the_api_says_only_that_it_asks_for_one() {
    let bench = Bench::new();
    bench.hob.get("/healthz").expect(200);
    for path in ["/hob/v1/status", "/hob/v1/functions", "/hob/v1/secrets"] {
        let answer = bench.hob.get(path).expect(401);
        assert!(answer.header("www-authenticate").starts_with("Basic "));
        assert_eq!(answer.text().lines().count(), 1, "{answer:?}");
    }
    let forged = Request::get("/hob/v1/status").header(header::AUTHORIZATION, "Basic !!!");
    let forged = forged.body(bytes::Bytes::new()).unwrap();
    bench.hob.send(forged).expect(401);
}

#[test]
fn the_socket_is_for_root_and_its_owner() {
    use std::os::unix::fs::PermissionsExt;

    let bench = Bench::new();
    let run = bench.hob.data().join("run");
    let socket = run.join("hob.sock");
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(&run)), (0o600, 0o711));
}

#[test]
fn another_user_is_turned_away_even_with_the_socket_open() {
    use std::os::unix::fs::PermissionsExt;

    if !rustix::process::geteuid().is_root() || !hob_testkit::has_programs(&["setpriv", "curl"]) {
        eprintln!("NOT TESTED: only root can become another user");
        return;
    }
    let bench = Bench::new();
    let socket = bench.hob.data().join("run/hob.sock");
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let output = std::process::Command::new("setpriv")
        .args([
            "--reuid=12345",
            "--regid=12345",
            "--clear-groups",
            "curl",
            "-s",
        ])
        .args(["-o", "-", "-w", "%{http_code}", "--unix-socket"])
        .arg(&socket)
        .arg("http://hob/hob/v1/functions")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("root") && said.ends_with("403"), "{output:?}");
}
