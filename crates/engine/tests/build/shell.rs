//! What a command may do.

use std::{
    fs,
    io::{Read, Write},
};

use crate::{client::read_answer, program::eventually, workshop::Workshop};

#[test]
fn a_command_sees_the_request_in_its_environment() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "environment",
        &[(
            "handler.sh",
            "echo \"$Http_Method $Http_Path $Http_Query $Http_X_Call_Id $Http_Content_Length ${Http_None-unset}\"; cat",
        )],
    );
    let answer = program.call("PATCH", "/a/b?c=d", "body");
    assert_eq!(answer.text(), "PATCH /a/b c=d 7 4 unset\nbody");
}

/// httpoxy: a caller must not choose the proxy of what the command asks others for.
#[test]
fn a_header_is_never_taken_for_a_proxy() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "proxy",
        &[("handler.sh", "env | grep -i proxy || echo none")],
    );
    let mut stream =
        program.open("GET / HTTP/1.0\r\nProxy: http://evil:1\r\nX-Proxy-Of: hob\r\n\r\n");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.ends_with("\r\n\r\nHttp_X_Proxy_Of=hob\n"),
        "{answer}"
    );
}

#[test]
fn an_exit_status_other_than_0_is_a_500() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "fails",
        &[(
            "handler.sh",
            "echo out; echo 'the reason' >&2; [ -z \"$(cat)\" ] || kill -9 $$; exit 3",
        )],
    );
    let answer = program.post("");
    assert_eq!(
        (answer.status, answer.text()),
        (
            500,
            "handler.sh exited with status 3: see `hob logs hello`\n"
        )
    );
    assert!(program.log().contains("the reason"), "{}", program.log());
    let answer = program.post("x");
    assert_eq!(
        answer.text(),
        "handler.sh was killed by signal 9: see `hob logs hello`\n"
    );
}

#[test]
fn large_bodies_pass_both_ways() {
    let workshop = Workshop::new();
    let program = workshop.start("cat", &[("handler.sh", "cat")]);
    let body = "0123456789".repeat(500_000);
    assert_eq!(program.post(&body).body.len(), body.len());
    let program = workshop.start("deaf", &[("handler.sh", "exec <&-; echo no thanks")]);
    assert_eq!(program.post(&body[..500_000]).text(), "no thanks\n");
}

/// Who feeds the command and who goes on to the next call read from one connection.
#[test]
fn a_body_that_nobody_wanted_ends_where_the_next_call_begins() {
    let workshop = Workshop::new();
    let program = workshop.start("deaf", &[("handler.sh", "echo \"$Http_Path\"")]);
    for _ in 0..10 {
        let head = "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
        let mut stream = program.open(head);
        assert_eq!(read_answer(&mut stream, false).text(), "/first\n");
        let rest = b"bodyGET /second HTTP/1.1\r\nHost: x\r\n\r\n";
        stream.write_all(rest).unwrap();
        assert_eq!(read_answer(&mut stream, false).text(), "/second\n");
    }
}

#[test]
fn any_language_with_a_first_line_will_do() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "perl",
        &[(
            "handler",
            "#!/usr/bin/env perl\nmy $who = <STDIN>; print \"Hello, $who!\";\n",
        )],
    );
    assert_eq!(program.post("Mina").text(), "Hello, Mina!");
    let outcome = workshop.build(&workshop.folder("plain", &[("handler", "echo hi")]));
    assert!(
        outcome.output().contains("chmod +x handler"),
        "{}",
        outcome.output()
    );
}

#[test]
fn a_caller_that_hangs_up_ends_the_command_and_its_children() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "endless",
        &[("handler.sh", "sleep 1000 & echo $! > \"$(cat)\"; wait")],
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let name = file.to_str().unwrap();
    let stream = program.open(&format!(
        "POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    ));
    let pid = || {
        fs::read_to_string(&file)
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    eventually("the child runs", || !pid().is_empty());
    let pid = pid();
    drop(stream);
    eventually("the child is gone", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z"))
    });
}

#[test]
fn a_long_answer_streams_and_is_cut_when_the_command_fails() {
    let workshop = Workshop::new();
    let program = workshop.start(
        "long",
        &[("handler.sh", "head -c 200000 /dev/zero; exit \"$(cat)\"")],
    );
    assert_eq!(program.post("0").body.len(), 200_000);
    let mut cut = Vec::new();
    program
        .open("POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\n1")
        .read_to_end(&mut cut)
        .unwrap();
    assert!(!cut.ends_with(b"0\r\n\r\n") && cut.len() > 200_000);
}
