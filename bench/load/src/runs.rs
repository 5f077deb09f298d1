//! One-shot runs: a script is posted again and again over kept connections, each after the exit
//! event of the one before.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::http::{Connection, Target, post};

/// What every run has to end with.
const GOOD: &[u8] = b"\"code\":0";

#[derive(Args)]
pub(crate) struct Runs {
    /// HOST:PORT or unix:PATH
    target: Target,
    /// Path to POST to
    #[arg(long, default_value = "/run?end=1")]
    path: String,
    /// The script
    #[arg(long, default_value = "true")]
    body: String,
    /// Runs of each caller
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Milliseconds between two runs of a caller, for the pool to make the next sandbox
    #[arg(long, default_value_t = 0)]
    pause: u64,
    /// Callers at once, each with a connection of its own
    #[arg(long, default_value_t = 1)]
    callers: u32,
}

/// Of all callers together.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// Milliseconds from request to the end of the answer, run by run.
    run_ms: Vec<f64>,
    /// Runs per second.
    rate: f64,
}

impl Runs {
    pub(crate) fn run(&self) -> Result<Report> {
        let request = post(&self.path, &self.body);
        let start = Instant::now();
        let times: Vec<Result<Vec<Duration>>> = thread::scope(|scope| {
            let callers = (0..self.callers).map(|_| scope.spawn(|| self.work(&request)));
            let callers: Vec<_> = callers.collect();
            let joined = callers.into_iter().filter_map(|caller| caller.join().ok());
            joined.collect()
        });
        let took = start.elapsed().as_secs_f64();
        let mut run_ms = Vec::new();
        for times in times {
            run_ms.extend(times?.iter().map(|time| time.as_secs_f64() * 1000.0));
        }
        Ok(Report {
            rate: run_ms.len() as f64 / took,
            run_ms,
        })
    }

    fn work(&self, request: &[u8]) -> Result<Vec<Duration>> {
        let mut connection = Connection::open(&self.target).context("cannot connect")?;
        let mut times = Vec::with_capacity(self.times as usize);
        for _ in 0..self.times {
            thread::sleep(Duration::from_millis(self.pause));
            let start = Instant::now();
            let answer = connection.call(request).context("a run")?;
            times.push(start.elapsed());
            if answer.status != 200 || !connection.has(GOOD) {
                bail!("a run went wrong: {}", connection.text());
            }
            if !answer.keep_alive {
                bail!("the connection is not kept");
            }
        }
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers two requests of one connection.
    fn report(answers: [&'static str; 2]) -> Result<Report> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let target = Target::Tcp(listener.local_addr().expect("address"));
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            for answer in answers {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).expect("request");
                let text = String::from_utf8_lossy(&request[..read]);
                if read == 0 {
                    return;
                }
                assert!(text.starts_with("POST /x HTTP/1.1\r\n"), "{text}");
                assert!(text.ends_with("\r\n\r\ntrue"), "{text}");
                stream.write_all(answer.as_bytes()).expect("answer");
            }
        });
        let runs = Runs {
            target,
            path: "/x".into(),
            body: "true".into(),
            times: 2,
            pause: 0,
            callers: 1,
        };
        let report = runs.run();
        server.join().expect("server");
        report
    }

    #[test]
    fn only_runs_that_go_well_over_one_connection_count() {
        let good = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\"code\":0";
        let bad = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\"code\":1";
        let closed = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 8\r\n\r\n\"code\":0";
        assert_eq!(report([good, good]).expect("runs").run_ms.len(), 2);
        report([good, bad]).expect_err("a bad run");
        report([closed, good]).expect_err("a closed connection");
    }
}
