//! Tokens and the password, from their making to their end.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
};

use bytes::Bytes;
use hob_testkit::{Answer, Cli, Hob, Outcome, assert_eventually, has_programs};
use http::{Method, Request, header};

use crate::{
    backup::{back_up, empty, restore},
    bench::{Bench, HOB, write},
};

const LIST: &str = "/system/functions";

/// Makes a token.
#[track_caller]
fn token(hob: &Hob, args: &[&str]) -> String {
    let made = hob.command().args(["token", "create"]).args(args).run();
    let told = made.stderr.contains("shown this once");
    let token = made.clone().ok();
    // Nothing else is there, so that it can be piped.
    let token = token.strip_suffix('\n').unwrap().to_owned();
    assert!(
        told && token.starts_with("hob_") && token.len() == 47,
        "{made:?}"
    );
    token
}

/// The command line of somebody elsewhere, who logs in by `HOB_PASSWORD`.
fn remote(hob: &Hob, password: &str, args: &[&str]) -> Outcome {
    let command = hob.command().env("HOB_DATA", "/nonexistent");
    let command = command.env("HOB_SERVER", hob.url());
    command.env("HOB_PASSWORD", password).args(args).run()
}

fn bearer(hob: &Hob, token: &str, method: Method, path: &str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    hob.send(request.body(Bytes::new()).unwrap())
}

fn listed(hob: &Hob, name: &str) -> serde_json::Value {
    let list = hob.cli(["token", "list", "-o", "json"]).json();
    let list = list.as_array().unwrap().clone();
    let found = list.into_iter().find(|token| token["name"] == name);
    found.unwrap_or_default()
}

#[test]
fn a_token_does_what_it_was_made_for_and_no_more() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let site = bench.site("welcome", "hi");
    let site = site.to_str().unwrap();
    let ci = token(
        hob,
        &["ci", "--scope", "functions:write", "--expires", "90d"],
    );
    let look = token(hob, &["look", "--scope", "functions:read"]);
    let keys = token(hob, &["keys", "--scope", "secrets:write,invoke:welcome"]);

    assert!(
        remote(hob, &ci, &["deploy", site])
            .ok()
            .contains("welcome is live")
    );
    assert!(remote(hob, &look, &["list"]).ok().contains("welcome"));
    bearer(hob, &look, Method::GET, LIST).expect(200);
    let refused = remote(hob, &look, &["deploy", site]).fails(5);
    assert!(
        refused.contains("token `look`") && refused.contains("`functions:write`"),
        "{refused}"
    );
    let refused = remote(hob, &keys, &["list"]).fails(5);
    assert!(refused.contains("`functions:read`"), "{refused}");
    let secret = hob
        .command()
        .env("HOB_SERVER", hob.url())
        .env("HOB_PASSWORD", &keys);
    secret.args(["secret", "set", "key"]).stdin("x").run().ok();
    for narrow in [&ci, &look, &keys] {
        remote(hob, narrow, &["token", "list"]).fails(5);
        remote(
            hob,
            narrow,
            &["backup", "/dev/null", "--no-identity", "--force"],
        )
        .fails(5);
    }
    // What its steps do is not done in a cage.
    let file = "FROM scratch\nCOPY Dockerfile /Dockerfile\n";
    write(&bench.folder.path().join("docker/Dockerfile"), file);
    let docker = bench.folder.path().join("docker");
    let build = [
        "build",
        docker.to_str().unwrap(),
        "--image",
        "local.test/docker:1",
    ];
    let refused = remote(hob, &ci, &build).fails(1);
    assert!(
        refused.contains("Dockerfile") && refused.contains("`admin`"),
        "{refused}"
    );
    // As good as the password, but to change that.
    let admin = token(hob, &["root", "--scope", "admin"]);
    assert!(
        remote(hob, &admin, &["token", "list"])
            .ok()
            .contains("secrets:write,invoke:welcome")
    );
    let refused = remote(hob, &admin, &["passwd", "--generate"]).fails(5);
    assert!(refused.contains("admin password"), "{refused}");
    for secret in [&ci, &look, &keys, &admin] {
        assert!(!hob.log().contains(&secret[4..]));
    }
}

#[test]
fn a_token_is_the_password_in_a_url_too() {
    if !has_programs(&["curl"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let token = token(hob, &["ci", "--scope", "functions:read"]);
    let status = |login: &str| {
        let url = format!("http://{login}@{}{LIST}", hob.address());
        let mut curl = Command::new("curl");
        let curl = curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        String::from_utf8(curl.output().unwrap().stdout).unwrap()
    };
    assert_eq!(status(&format!("x:{token}")), "200");
    assert_eq!(status(&format!("admin:{token}")), "200");
    assert_eq!(status(&format!("admin:{}", hob.password())), "200");
    assert_eq!(status("admin:wrong"), "401");

    let list = |login: &str| {
        let url = format!("http://{login}@{}", hob.address());
        hob.command().args(["list", "--server", &url]).run()
    };
    list(&format!("x:{token}")).ok();
    list(&format!("admin:{}", hob.password())).ok();
    let refused = list("admin:wr0ng").fails(5);
    assert!(
        refused.contains(&hob.url()) && !refused.contains("wr0ng"),
        "{refused}"
    );
}

#[test]
fn a_login_in_the_servers_url_is_in_no_error() {
    let hob = |server: &str| {
        let cli = Cli::new(HOB.as_ref()).env("HOB_SERVER", server);
        cli.args(["status"]).run()
    };
    for (server, code) in [
        // Nobody is there.
        ("http://admin:s3cret@127.0.0.1:1", 4),
        ("admin:s3cret@nobody.invalid", 4),
        ("http://admin:s3cret@127.0.0.1:99999", 64),
        ("http://admin:s3cret@", 64),
        ("gopher://admin:s3cret@box.lan", 64),
        ("http://s3cret@box.lan", 64),
        ("http://admin:s3@cret@box.lan/path", 64),
    ] {
        let outcome = hob(server);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        assert_eq!(outcome.code, code, "{server}: {said}");
        assert!(
            !said.contains("s3") && !said.contains("cret"),
            "{server}: {said}"
        );
    }
}

#[test]
fn a_token_ends_and_a_revoked_one_is_gone_at_once() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let brief = token(
        hob,
        &["brief", "--scope", "functions:read", "--expires", "2s"],
    );
    let long = token(hob, &["long", "--scope", "functions:read"]);
    let asked = |token: &str| bearer(hob, token, Method::GET, LIST).status.as_u16();
    assert_eq!((asked(&brief), asked(&long)), (200, 200));
    assert_eventually!(asked(&brief) == 401);
    assert_eq!(asked(&long), 200);
    let list = hob.cli(["token", "list"]).ok();
    let line = list.lines().find(|line| line.starts_with("brief")).unwrap();
    assert!(line.contains("ago"), "{list}");

    assert_eq!(
        hob.cli(["token", "revoke", "long"]).ok(),
        "revoked token long\n"
    );
    assert_eq!(asked(&long), 401);
    let gone = hob.cli(["token", "revoke", "breif"]).fails(3);
    assert!(gone.contains("did you mean `brief`?"), "{gone}");
    let taken = hob
        .cli(["token", "create", "brief", "--scope", "admin"])
        .fails(1);
    assert!(taken.contains("already"), "{taken}");
    hob.cli(["token", "create", "x", "--scope", "everything"])
        .fails(64);
    hob.cli(["token", "create", "x"]).fails(64);
}

#[test]
fn tokens_and_their_last_use_survive_a_restart_and_a_restore() {
    let mut bench = Bench::new();
    let used = token(
        &bench.hob,
        &["used", "--scope", "functions:read", "--expires", "1h"],
    );
    token(&bench.hob, &["idle", "--scope", "admin"]);
    bearer(&bench.hob, &used, Method::GET, LIST).expect(200);
    let before = (listed(&bench.hob, "used"), listed(&bench.hob, "idle"));
    assert!(before.0["last_used_at"].is_string(), "{before:?}");
    assert!(before.1["last_used_at"].is_null(), "{before:?}");
    bench.hob.stop();
    bench.hob.restart();
    assert_eq!(
        (listed(&bench.hob, "used"), listed(&bench.hob, "idle")),
        before
    );
    bearer(&bench.hob, &used, Method::GET, LIST).expect(200);

    let file = back_up(&bench.hob, bench.folder.path(), &[]);
    let data = empty();
    restore(&file, data.path()).ok();
    let hob = Hob::builder(HOB).data(data).start();
    bearer(&hob, &used, Method::GET, LIST).expect(200);
    remote(&hob, bench.hob.password(), &["token", "revoke", "used"]).ok();
    bearer(&hob, &used, Method::GET, LIST).expect(401);
    // The other server knows nothing of that.
    bearer(&bench.hob, &used, Method::GET, LIST).expect(200);
}

#[test]
fn the_password_is_changed_at_once_from_here_and_from_there() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let first = hob.password().to_owned();
    let token = token(hob, &["ci", "--scope", "functions:read"]);
    // It is remembered from here on.
    remote(hob, &first, &["list"]).ok();

    // Nobody is asked for the old one on the machine itself.
    let made = hob.cli(["passwd", "--generate"]);
    assert!(made.stderr.contains("shown this once"), "{made:?}");
    let second = made.ok().trim_end().to_owned();
    let refused = remote(hob, &first, &["list"]).fails(5);
    assert!(
        refused.contains("hob passwd") && !refused.contains(&first),
        "{refused}"
    );
    remote(hob, &second, &["list"]).ok();

    let change = |password: &str, new: &str| {
        let command = hob.command().env("HOB_DATA", "/nonexistent");
        let command = command
            .env("HOB_SERVER", hob.url())
            .env("HOB_PASSWORD", password);
        command
            .args(["passwd", "--password-stdin"])
            .stdin(new)
            .run()
    };
    let third = "correct horse: battery@staple";
    change(&first, third).fails(5);
    change(&second, "too brief\n").fails(1);
    assert_eq!(
        change(&second, &format!("{third}\n")).ok(),
        "the admin password is changed\n"
    );
    remote(hob, &second, &["list"]).fails(5);
    remote(hob, third, &["list"]).ok();
    remote(hob, &token, &["list"]).ok();
    hob.cli(["passwd"]).fails(64);
    for password in [&first, &second, third] {
        assert!(!hob.log().contains(password));
    }
}

/// `hob passwd` on a terminal, to which somebody types `answers`, each when he is asked; returns
/// what the terminal showed, and whether it went well.
fn on_a_terminal(hob: &Hob, answers: [(&str, &str); 2]) -> (String, bool) {
    let script = Cli::new("script".as_ref()).env("HOB_DATA", hob.data());
    let script = script.args(["-qec", &format!("{HOB} passwd"), "/dev/null"]);
    let mut script = script.into_command();
    let script = script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut script = script.spawn().unwrap();
    let (mut keys, mut screen) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = Vec::new();
    for (question, answer) in answers {
        let mut byte = [0];
        while !shown.ends_with(question.as_bytes()) {
            if screen.read(&mut byte).unwrap() == 0 {
                break;
            }
            shown.extend(byte);
        }
        keys.write_all(answer.as_bytes()).unwrap();
    }
    screen.read_to_end(&mut shown).unwrap();
    let well = script.wait().unwrap().success();
    (String::from_utf8_lossy(&shown).into_owned(), well)
}

#[test]
fn on_a_terminal_the_password_is_asked_for_twice_and_not_shown() {
    if !has_programs(&["script"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let (first, again) = ("new admin password: ", "the same again: ");
    let new = "a pass phrase of mine";
    let (shown, well) = on_a_terminal(
        hob,
        [
            (first, "a pass phrase of mine\n"),
            (again, "another one of mine\n"),
        ],
    );
    assert!(!well && shown.contains("not the same"), "{shown}");
    remote(hob, hob.password(), &["list"]).ok();
    let typed = format!("{new}\n");
    let (shown, well) = on_a_terminal(hob, [(first, &typed), (again, &typed)]);
    assert!(well && !shown.contains(new), "{shown}");
    remote(hob, new, &["list"]).ok();
    remote(hob, hob.password(), &["list"]).fails(5);
}

#[test]
fn a_refused_login_leaves_one_line_that_fail2ban_can_read() {
    let bench = Bench::new();
    let hob = &bench.hob;
    let ask = |value: &str| {
        let request = Request::get(LIST).header(header::AUTHORIZATION, value);
        hob.send(request.body(Bytes::new()).unwrap()).expect(401);
    };
    let lines = || {
        let log = hob.log();
        let lines = log.lines().filter(|line| line.contains("login refused"));
        lines.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    // Many programs ask like this before they log in.
    hob.get(LIST).expect(401);
    assert!(lines().is_empty(), "{:?}", lines());
    // `x:s3cret`
    ask("Basic eDpzM2NyZXQ=");
    ask("Bearer hob_s3cret");
    ask("Basic !!!");
    let lines = lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    let form = |line: &str, user: &str| {
        let tail = format!(" user=\"{user}\" path=\"{LIST}\"");
        line.contains(" WARN ") && line.contains("login refused address=") && line.ends_with(&tail)
    };
    assert!(
        form(&lines[0], "x") && form(&lines[1], "") && form(&lines[2], ""),
        "{lines:?}"
    );
    assert!(!hob.log().contains("s3cret"));
}
