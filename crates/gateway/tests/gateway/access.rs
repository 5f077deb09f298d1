//! The access log: the same line by the express lane and by hyper.

use std::{fs, path::PathBuf};

use hob_gateway::{AccessFormat, AccessLog, AccessTarget};
use tempfile::TempDir;

use crate::{
    harness::{Conn, World, echo},
    way::Way,
};

struct Logged {
    world: World,
    path: PathBuf,
    _folder: TempDir,
}

impl Logged {
    fn start(format: AccessFormat) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.log");
        let log = AccessLog {
            target: AccessTarget::File(path.clone()),
            format,
            query: false,
        };
        Self {
            world: World::with(|config| {
                // Lines of several threads are in no order.
                config.threads = 1;
                config.access_log = Some(log);
            }),
            path,
            _folder: folder,
        }
    }

    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The lines, once there are so many.
    fn wait(&self, count: usize) -> Vec<String> {
        eventually!(self.lines().len() >= count);
        self.lines()
    }
}

/// Without what differs from call to call: time, duration and id.
fn same(line: &str) -> String {
    let (before, rest) = line.split_once(" [").unwrap();
    let (time, rest) = rest.split_once(']').unwrap();
    assert_eq!(time.len(), "29/Nov/2026:16:27:18 +0000".len(), "{line}");
    let (rest, id) = rest.rsplit_once(' ').unwrap();
    let (rest, function) = rest.rsplit_once(' ').unwrap();
    let (rest, seconds) = rest.rsplit_once(' ').unwrap();
    assert!(seconds.parse::<f64>().unwrap() < 10.0, "{line}");
    assert!(id.len() > 1 || function == "-", "{line}");
    format!("{before}{rest} {function}")
}

#[test]
fn a_call_leaves_the_same_line_by_both_ways() {
    let logged = Logged::start(AccessFormat::Combined);
    let world = &logged.world;
    let _replica = world.hello(|mut conn: Conn| {
        while let Some(request) = conn.request() {
            let answer = match request.line.split(' ').nth(1).unwrap() {
                "/none" => "HTTP/1.1 204 No Content\r\n\r\n",
                "/gone" => "",
                "/chunks" => {
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
                }
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello",
            };
            conn.write(answer);
            if answer.is_empty() {
                return;
            }
        }
    });
    let mut expected = Vec::new();
    for (request, agent, logged_as) in [
        (
            "POST /function/hello/a?token=1",
            "curl",
            "\"POST /function/hello/a HTTP/1.1\" 404 5 \"-\" \"curl\"",
        ),
        (
            "HEAD /function/hello",
            "\"é",
            "\"HEAD /function/hello HTTP/1.1\" 404 0 \"-\" \"\\x22\\xC3\\xA9\"",
        ),
        (
            "GET /function/hello/none",
            "-",
            "\"GET /function/hello/none HTTP/1.1\" 204 0 \"-\" \"-\"",
        ),
        (
            "GET /function/hello/chunks",
            "-",
            "\"GET /function/hello/chunks HTTP/1.1\" 200 6 \"-\" \"-\"",
        ),
        (
            "POST /function/hello/gone",
            "-",
            "\"POST /function/hello/gone HTTP/1.1\" 502 BYTES \"-\" \"-\"",
        ),
    ] {
        for way in Way::BOTH {
            let way = way.field();
            let reply = world.call(&format!(
                "{request} HTTP/1.1\nHost: h\nUser-Agent: {agent}\n{way}\n"
            ));
            let id = reply.field("x-call-id").unwrap().to_owned();
            let logged_as = logged_as.replace("BYTES", &reply.body.len().to_string());
            expected.push((id, format!("127.0.0.1 - - {logged_as} hello.openfaas-fn")));
        }
    }
    let lines = logged.wait(expected.len());
    for (id, logged_as) in expected {
        let line = lines.iter().find(|line| line.ends_with(&id)).unwrap();
        assert_eq!(same(line), logged_as);
    }
}

#[test]
fn every_request_leaves_a_line_and_refused_ones_too() {
    let logged = Logged::start(AccessFormat::Json);
    let world = &logged.world;
    let _replica = world.hello(echo);
    world.call("GET /system/functions?x=1 HTTP/1.1\nHost: h\n\n");
    world.call("GET /function/nobody HTTP/1.1\nHost: h\n\n");
    for way in Way::BOTH {
        let way = way.field();
        world.call(&format!(
            "GET /function/hello HTTP/1.1\nHost: h\n{way}X-Hob-Depth: 16\n\n"
        ));
    }
    let lines = logged.wait(4);
    for (line, parts) in lines.iter().zip([
        [
            "\"path\":\"/system/functions\"",
            "\"status\":200",
            "\"function\":null",
        ],
        [
            "\"path\":\"/function/nobody\"",
            "\"status\":404",
            "\"function\":null",
        ],
        [
            "\"user\":null",
            "\"status\":508",
            "\"function\":\"hello.openfaas-fn\"",
        ],
        [
            "\"user\":null",
            "\"status\":508",
            "\"function\":\"hello.openfaas-fn\"",
        ],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line}");
    }
}

#[test]
fn a_caller_who_leaves_has_a_line() {
    for way in Way::BOTH {
        let logged = Logged::start(AccessFormat::Combined);
        let (begun, begins) = std::sync::mpsc::channel();
        let _replica = logged.world.hello(move |mut conn: Conn| {
            conn.request();
            begun.send(()).unwrap();
            conn.request();
        });
        let mut client = logged.world.connect();
        let field = way.field().replace('\n', "\r\n");
        client.send(format!(
            "GET /function/hello HTTP/1.1\r\nHost: h\r\n{field}\r\n"
        ));
        begins.recv().unwrap();
        drop(client);
        let line = same(&logged.wait(1)[0]);
        assert!(
            line.contains("\"GET /function/hello HTTP/1.1\" 499 0 "),
            "{line}"
        );
    }
}

#[test]
fn a_log_that_was_moved_is_begun_anew_and_the_last_lines_are_kept() {
    let logged = Logged::start(AccessFormat::Combined);
    let _replica = logged.world.hello(echo);
    let call = "GET /function/hello HTTP/1.1\nHost: h\n\n";
    logged.world.call(call);
    logged.wait(1);
    let moved = logged.path.with_extension("1");
    fs::rename(&logged.path, &moved).unwrap();
    // The next line may still go to the file that was moved.
    eventually!({
        logged.world.call(call);
        !logged.lines().is_empty()
    });
    let Logged {
        world,
        path,
        _folder,
    } = logged;
    let count = |path: &PathBuf| fs::read_to_string(path).unwrap().lines().count();
    let mut calls = world.routes.find("hello").unwrap().counters.totals().0;
    for _ in 0..100 {
        world.call(call);
        calls += 1;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(world.handle().shutdown(crate::harness::PATIENCE));
    assert_eq!((count(&path) + count(&moved)) as u64, calls);
}
