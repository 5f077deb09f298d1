//! `/system/logs`, as OpenFaaS's clients ask for it.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::Path,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hob_testkit::{Answer, Cli, Hob, assert_eventually, has_programs, rare_program};
use http::Request;
use serde_json::Value;

use super::{let_time_pass, say, talker};
use crate::bench::Bench;

fn login(hob: &Hob) -> String {
    let login = BASE64_STANDARD.encode(format!("admin:{}", hob.password()));
    format!("Basic {login}")
}

fn ask(hob: &Hob, query: &str) -> Answer {
    let request = Request::get(format!("/system/logs?{query}"));
    let request = request.header("authorization", login(hob));
    hob.send(request.body(Bytes::new()).unwrap())
}

fn lines(hob: &Hob, query: &str) -> Vec<Value> {
    let answer = ask(hob, query).expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = answer.text().lines().map(serde_json::from_str);
    lines.map(Result::unwrap).collect()
}

fn texts(hob: &Hob, query: &str) -> Vec<String> {
    let lines = lines(hob, query);
    let texts = lines
        .iter()
        .map(|line| line["text"].as_str().unwrap().to_owned());
    texts.collect()
}

#[test]
fn lines_come_in_the_shape_and_number_that_clients_ask_for() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    hob.get("/system/logs?name=talker").expect(401);
    talker(&bench);
    for words in ["one", "two", "three"] {
        let_time_pass(&bench);
        say(&bench, words);
    }
    let all = lines(hob, "name=talker");
    let keys: Vec<_> = all[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["instance", "name", "namespace", "text", "timestamp"]);
    assert_eq!(
        (&all[0]["name"], &all[0]["namespace"]),
        (&"talker".into(), &"openfaas-fn".into())
    );
    let (instance, time) = (
        all[1]["instance"].as_str().unwrap(),
        all[1]["timestamp"].as_str().unwrap(),
    );
    let everything = ["one", "two", "three"];
    for query in [
        "name=talker&namespace=openfaas-fn&follow=0",
        "name=talker&namespace=&tail=-1&follow=false&since=&instance=",
        "name=talker&tail=0&follow=f",
        "name=talker.openfaas-fn&follow=perhaps&cache=x",
        &format!("name=talker&instance={instance}"),
        "name=talker&since=2020-01-01T00:00:00%2B02:00",
    ] {
        assert_eq!(texts(hob, query), everything, "{query}");
    }
    assert_eq!(texts(hob, "name=talker&tail=2"), everything[1..]);
    let naive = time.trim_end_matches('Z');
    for since in [time, naive] {
        assert_eq!(
            texts(hob, &format!("name=talker&since={since}")),
            everything[1..]
        );
    }
    for (query, status, words) in [
        ("", 400, "name"),
        ("namespace=openfaas-fn", 400, "name"),
        ("name=Talker", 400, "`Talker`"),
        ("name=talker&namespace=a_b", 400, "a_b"),
        ("name=nobody", 404, "`nobody`"),
        ("name=talker&namespace=elsewhere", 404, "`talker.elsewhere`"),
        (
            "name=talker&tail=few",
            422,
            "could not parse the log request",
        ),
        ("name=talker&since=then", 422, "`then`"),
    ] {
        let answer = ask(hob, query).expect(status);
        assert!(answer.text().contains(words), "{}", answer.text());
    }
}

#[test]
fn without_a_time_only_the_last_minutes_come() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    talker(&bench);
    say(&bench, "old");
    hob.cli(["scale", "talker", "0"]).ok();
    age(&hob.data().join("logs/openfaas-fn/talker"));
    say(&bench, "new");
    assert_eq!(texts(hob, "name=talker"), ["new"]);
    let since = SystemTime::now() - Duration::from_secs(7_200);
    let since = humantime::format_rfc3339_seconds(since);
    assert_eq!(
        texts(hob, &format!("name=talker&since={since}")),
        ["old", "new"]
    );
    assert_eq!(hob.cli(["logs", "talker"]).ok(), "old\nnew\n");
}

/// Makes the logs in a folder an hour older.
fn age(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|kind| kind == "times") {
            let text = fs::read_to_string(&path).unwrap();
            let marks = text.lines().map(|mark| {
                let (millis, length) = mark.split_once(' ').unwrap();
                let millis: u64 = millis.parse().unwrap();
                format!("{} {length}\n", millis - 3_600_000)
            });
            fs::write(&path, marks.collect::<String>()).unwrap();
        } else {
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(3_600))
                .unwrap();
        }
    }
}

#[test]
fn one_name_in_two_namespaces_is_two_functions() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("hello", "print(req, flush=True)");
    for name in ["hello", "hello.staging"] {
        let deploy = bench.hob.command().args(["deploy", "--name", name]);
        deploy.args([&folder]).run().ok();
        bench
            .hob
            .post(&format!("/function/{name}"), format!("for {name}"))
            .expect(200);
    }
    assert_eq!(texts(&bench.hob, "name=hello"), ["for hello"]);
    let lines = lines(&bench.hob, "name=hello&namespace=staging");
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["text"], &lines[0]["namespace"]),
        (&"for hello.staging".into(), &"staging".into())
    );
    let staged = bench
        .hob
        .cli(["logs", "hello", "--namespace", "staging"])
        .ok();
    assert_eq!(staged, "for hello.staging\n");
}

#[test]
fn a_line_is_sent_as_it_comes_and_a_client_may_go() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    talker(&bench);
    say(&bench, "before");
    let mut stream = TcpStream::connect(hob.address()).unwrap();
    let client = stream.local_addr().unwrap().port();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let login = login(hob);
    write!(stream, "GET /system/logs?name=talker&follow=1&tail=1 HTTP/1.1\r\nHost: hob\r\nAuthorization: {login}\r\n\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    let head = head.join("\n").to_lowercase();
    assert!(
        head.contains("200 ok") && head.contains("transfer-encoding: chunked"),
        "{head}"
    );
    for words in ["before", "now"] {
        if words == "now" {
            say(&bench, words);
        }
        let line = lines.find(|line| line.starts_with('{')).unwrap();
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line["text"], words);
    }
    assert!(holds(hob, client));
    drop(lines);
    assert_eventually!(!holds(hob, client), "the server lets the connection go");
}

/// Whether the server has not closed its end of the connection from this port yet.
fn holds(hob: &Hob, client: u16) -> bool {
    // As the kernel writes them: established, and closed by the other end only.
    const OPEN: [&str; 2] = ["01", "08"];
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = [hob.address().port(), client].map(|port| format!(":{port:04X}"));
    table.lines().any(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let mut both = fields[1..3].iter().zip(&ends);
        OPEN.contains(&fields[3]) && both.all(|(field, end)| field.ends_with(end.as_str()))
    })
}

#[test]
fn faas_cli_itself_shows_logs() {
    if !has_programs(&["python3"]) {
        return;
    }
    let Some(program) = rare_program("faas-cli") else {
        return;
    };
    let bench = Bench::new();
    talker(&bench);
    for words in ["one", "two", "three"] {
        let_time_pass(&bench);
        say(&bench, words);
    }
    let home = tempfile::tempdir().unwrap();
    let url = bench.hob.url();
    let faas = |args: &[&str]| {
        let cli = Cli::new(&program).args(args).args(["--gateway", &url]);
        let cli = cli.dir(home.path()).env("HOME", home.path());
        cli.env("OPENFAAS_CONFIG", home.path())
    };
    let login = faas(&["login", "--username", "admin", "--password-stdin"]);
    login.stdin(bench.hob.password()).run().ok();
    let logs = |args: &[&str]| {
        let text = faas(&[&["logs", "talker", "--tail=false"][..], args].concat())
            .run()
            .ok();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = logs(&[]);
    assert_eq!(all.len(), 3);
    assert!(
        all[0].ends_with(" one") && all[2].ends_with(" three"),
        "{all:?}"
    );
    assert_eq!(logs(&["--lines=1"]).len(), 1);
    assert_eq!(logs(&["--since=1h", "--lines=2"]).len(), 2);
    assert!(logs(&["--since-time=2099-01-01T00:00:00+02:00"]).is_empty());
    let line: Value = serde_json::from_str(&logs(&["-o", "json"])[1]).unwrap();
    assert_eq!(
        (&line["text"], &line["namespace"]),
        (&"two".into(), &"openfaas-fn".into())
    );
    let named = logs(&["--instance", "--name"]);
    assert!(named[0].contains("talker-"), "{named:?}");
    let error = faas(&["logs", "nobody", "--tail=false"]).run();
    assert!(
        error.code != 0 && error.stdout.contains("nobody"),
        "{error:?}"
    );
}
