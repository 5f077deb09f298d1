//! What a newcomer does in the first minutes, as the README has it.

use hob_testkit::{assert_eventually, has_programs};

use crate::bench::{Bench, write};

#[test]
fn from_an_empty_folder_to_a_live_url_and_away_again() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let hob = &bench.hob;
    let here = bench.folder.path();

    let said = hob
        .command()
        .dir(here)
        .args(["new", "python", "hello"])
        .run()
        .ok();
    assert!(said.contains("hello/handler.py"), "{said}");

    let inside = here.join("hello");
    let deploy = || hob.command().dir(&inside).args(["deploy"]).run();
    let said = deploy();
    assert!(said.stderr.contains("==> sending"), "{said:?}");
    let live = said.ok();
    let url = format!("hello is live at {}/function/hello (revision ", hob.url());
    assert!(live.starts_with(&url) && live.ends_with(" ms)\n"), "{live}");
    let answer = hob.post("/function/hello", "Dracula").expect(200);
    assert!(answer.text().contains("Dracula"), "{answer:?}");

    let said = deploy().ok();
    assert!(said.starts_with("hello is unchanged and live"), "{said}");

    let handler =
        "def handle(req):\n    print('called by', req)\n    return f'Good evening, {req}'\n";
    write(&inside.join("handler.py"), handler);
    deploy().ok();
    let answer = hob.cli(["invoke", "hello", "-d", "Mina"]).ok();
    assert_eq!(answer, "Good evening, Mina");

    assert_eventually!(
        hob.cli(["logs", "hello"]).ok().contains("called by Mina"),
        "the log has what the function printed"
    );
    let last = hob.cli(["logs", "hello", "--tail", "1"]).ok();
    assert_eq!(last.lines().count(), 1, "{last}");

    let said = hob.cli(["describe", "hello"]).ok();
    for expected in ["hot", "python", "1 ready of 1 wanted", "memory 256Mi"] {
        assert!(said.contains(expected), "no {expected} in {said}");
    }

    assert_eq!(
        hob.cli(["scale", "hello", "2"]).ok(),
        "hello runs 2 replicas\n"
    );
    let said = hob.cli(["scale", "hello", "0"]).ok();
    assert_eq!(said, "hello is stopped; the next call wakes it\n");
    let list = hob.cli(["list"]).ok();
    assert!(list.lines().nth(1).unwrap().contains("stopped"), "{list}");
    let answer = hob.post("/function/hello", "Jonathan").expect(200);
    assert_eq!(answer.text(), "Good evening, Jonathan");

    assert_eq!(hob.cli(["remove", "hello"]).ok(), "removed hello\n");
    hob.get("/function/hello").expect(404);
    let said = hob.cli(["list"]);
    assert!(
        said.stdout.is_empty() && said.stderr.contains("hob new"),
        "{said:?}"
    );
}

#[test]
fn a_call_takes_its_body_from_wherever_it_is() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let echo = "return f'{req.method} {req.path} {req.query} {req.headers.get(\"x-one\")} {req}'";
    let folder = bench.python("echo", echo);
    bench.deploy(&folder);
    let hob = &bench.hob;

    let file = bench.folder.path().join("body.txt");
    write(&file, "from a file");
    let file = file.to_str().unwrap();
    let at_file = format!("@{file}");
    for args in [["-f", file], ["-d", &at_file]] {
        let answer = hob.command().args(["invoke", "echo"]).args(args).run().ok();
        assert!(
            answer.starts_with("POST ") && answer.ends_with("from a file"),
            "{answer}"
        );
    }
    for args in [&["invoke", "echo"][..], &["invoke", "echo", "-d", "@-"]] {
        let answer = hob.command().args(args).stdin("from a pipe").run().ok();
        assert!(answer.ends_with("from a pipe"), "{answer}");
    }
    let args = [
        "invoke",
        "echo",
        "-X",
        "DELETE",
        "--path",
        "/a/b?c=d",
        "-H",
        "X-One: two",
        "-i",
    ];
    let answer = hob.cli(args).ok();
    assert!(answer.starts_with("HTTP/1.1 200 OK\n"), "{answer}");
    assert!(answer.contains("\nx-call-id: "), "{answer}");
    let body = answer.split("\n\n").last().unwrap();
    for expected in ["DELETE", "/a/b", "two"] {
        assert!(body.contains(expected), "no {expected} in {body}");
    }
}

#[test]
fn a_function_may_say_no_and_its_words_arrive() {
    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("picky", "return 'Bad Request', 400");
    bench.deploy(&folder);
    let said = bench.hob.cli(["invoke", "picky", "-d", "x"]);
    assert_eq!(said.stdout, "Bad Request");
    assert_eq!(said.fails(1), "error: picky answered 400 Bad Request");

    // Its own 404 is no unknown function.
    let folder = bench.python("missing", "return 'nothing here', 404");
    bench.deploy(&folder);
    let said = bench.hob.cli(["invoke", "missing", "-d", "x"]);
    assert_eq!(said.stdout, "nothing here");
    said.fails(1);
}

#[test]
fn an_answer_that_leads_elsewhere_says_where() {
    let bench = Bench::new();
    bench.deploy(&bench.site("welcome", "<p>hi</p>"));
    let line = bench.hob.cli(["invoke", "welcome", "-X", "GET"]).fails(1);
    let expected = "error: welcome answered 307 Temporary Redirect: go on at /function/welcome/";
    assert_eq!(line, expected);
}

#[test]
fn a_log_is_followed_as_it_grows() {
    use std::{
        io::{BufRead, BufReader},
        process::Stdio,
    };

    if !has_programs(&["python3"]) {
        return;
    }
    let bench = Bench::new();
    let folder = bench.python("talker", "print('heard', req)\nreturn 'ok'");
    bench.deploy(&folder);
    let command = bench
        .hob
        .command()
        .args(["logs", "talker", "-f", "-o", "json"]);
    let mut follower = command
        .into_command()
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    bench.hob.post("/function/talker", "one").expect(200);
    let line = lines
        .by_ref()
        .map_while(Result::ok)
        .find(|line| line.contains("heard one"))
        .expect("the line arrives");
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(
        line["instance"].as_str().unwrap().starts_with("talker-"),
        "{line}"
    );
    follower.kill().unwrap();
    follower.wait().unwrap();
}
