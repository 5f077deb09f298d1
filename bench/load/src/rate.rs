//! Open loop: calls have their times before the first is sent. An answer that comes late makes
//! the calls behind it on its connection late too, and that wait counts as their latency, since
//! each is measured from the time it was due (no coordinated omission).

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::http::{Connection, Target, get};

#[derive(Args)]
pub(crate) struct Rate {
    /// HOST:PORT or unix:PATH
    target: Target,
    /// Path to GET
    #[arg(long, default_value = "/")]
    path: String,
    /// Calls per second
    #[arg(long, default_value_t = 2000)]
    rate: u32,
    /// Connections that take turns
    #[arg(long, default_value_t = 32)]
    connections: u32,
    /// Seconds that count
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Seconds before, that do not
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
}

/// Latencies in microseconds, from due time to the last byte of the answer.
#[derive(Debug, Serialize)]
pub(crate) struct Latency {
    calls: usize,
    errors: usize,
    /// Calls per second that were really answered.
    rate: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
    /// By how much the generator itself woke too late for calls whose connection was free.
    late_p50: f64,
    late_p99: f64,
}

#[derive(Default)]
struct Samples {
    latency: Vec<Duration>,
    late: Vec<Duration>,
    errors: usize,
}

impl Rate {
    pub(crate) fn run(&self) -> Result<Latency> {
        if self.rate == 0 || self.connections == 0 || self.seconds <= 0.0 || self.warmup < 0.0 {
            bail!("rate, connections and seconds must be more than 0");
        }
        let request = get(&self.path);
        let mut connections = Vec::new();
        for _ in 0..self.connections {
            let mut connection = Connection::open(&self.target).context("cannot connect")?;
            let answer = connection.call(&request).context("first call")?;
            if answer.status != 200 {
                bail!("the first call was answered with status {}", answer.status);
            }
            connections.push(connection);
        }
        let start = Instant::now() + Duration::from_millis(20);
        let samples: Vec<Samples> = thread::scope(|scope| {
            let workers = connections
                .into_iter()
                .enumerate()
                .map(|(turn, connection)| {
                    let request = &request;
                    scope.spawn(move || self.work(start, turn, connection, request))
                });
            let workers: Vec<_> = workers.collect();
            workers
                .into_iter()
                .filter_map(|worker| worker.join().ok())
                .collect()
        });
        Ok(self.report(samples))
    }

    /// One connection: every `connections`-th call is its own.
    fn work(&self, start: Instant, turn: usize, connection: Connection, request: &[u8]) -> Samples {
        // Sleeps end up to 50 µs late by default; that would hide what is to be measured.
        let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
        let mut samples = Samples::default();
        let mut open = Some(connection);
        let counted = start + Duration::from_secs_f64(self.warmup);
        let end = counted + Duration::from_secs_f64(self.seconds);
        for call in (turn..).step_by(self.connections as usize) {
            let due = start + Duration::from_secs_f64(call as f64 / f64::from(self.rate));
            if due >= end {
                break;
            }
            let wait = due.saturating_duration_since(Instant::now());
            thread::sleep(wait);
            let late = due.elapsed();
            let answered = self.call(&mut open, request);
            if due < counted {
                continue;
            }
            if !wait.is_zero() {
                samples.late.push(late);
            }
            match answered {
                true => samples.latency.push(due.elapsed()),
                false => samples.errors += 1,
            }
        }
        samples
    }

    fn call(&self, open: &mut Option<Connection>, request: &[u8]) -> bool {
        let connection = open
            .take()
            .map_or_else(|| Connection::open(&self.target), Ok);
        let Ok(mut connection) = connection else {
            return false;
        };
        match connection.call(request) {
            Ok(answer) => {
                if answer.keep_alive {
                    *open = Some(connection);
                }
                answer.status == 200
            }
            Err(_) => false,
        }
    }

    fn report(&self, samples: Vec<Samples>) -> Latency {
        let errors = samples.iter().map(|some| some.errors).sum();
        let (mut latency, mut late) = (Vec::new(), Vec::new());
        for some in samples {
            latency.extend(some.latency);
            late.extend(some.late);
        }
        latency.sort_unstable();
        late.sort_unstable();
        Latency {
            calls: latency.len(),
            errors,
            rate: latency.len() as f64 / self.seconds,
            p50: percentile(&latency, 0.5),
            p90: percentile(&latency, 0.9),
            p99: percentile(&latency, 0.99),
            p999: percentile(&latency, 0.999),
            max: percentile(&latency, 1.0),
            late_p50: percentile(&late, 0.5),
            late_p99: percentile(&late, 0.99),
        }
    }
}

/// The smallest sample that at least `share` of the samples do not exceed, in microseconds.
fn percentile(sorted: &[Duration], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    match sorted.get(rank.max(1) - 1) {
        Some(sample) => (sample.as_nanos() as f64 / 100.0).round() / 10.0,
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
    };

    use super::*;

    /// Answers one connection, and pauses once, before the call of that number.
    fn server(pause_before: usize, pause: Duration) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").expect("port");
        let target = Target::Tcp(listener.local_addr().expect("address"));
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("connection");
            let mut buffer = [0; 1024];
            for call in 0.. {
                if stream.read(&mut buffer).unwrap_or(0) == 0 {
                    return;
                }
                if call == pause_before {
                    thread::sleep(pause);
                }
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
        });
        target
    }

    #[test]
    fn a_stall_counts_for_every_call_that_was_due_in_it() {
        let pause = Duration::from_millis(300);
        let target = server(50, pause);
        let path = "/".to_owned();
        let rate = Rate {
            target,
            path,
            rate: 200,
            connections: 1,
            seconds: 1.0,
            warmup: 0.0,
        };
        let report = rate.run().expect("a report");
        assert_eq!((report.calls, report.errors), (200, 0));
        // 60 of the 200 calls were due in the stall; a closed loop would have seen one.
        assert!(report.p90 > 100_000.0, "{report:?}");
        assert!(report.p50 < 50_000.0, "{report:?}");
        assert!(report.max >= 299_000.0, "{report:?}");
    }

    #[test]
    fn percentiles_are_samples() {
        let sorted: Vec<_> = (1..=100).map(Duration::from_micros).collect();
        let shares = [0.0, 0.5, 0.99, 1.0].map(|share| percentile(&sorted, share));
        assert_eq!(shares, [1.0, 50.0, 99.0, 100.0]);
        assert_eq!(percentile(&[], 0.5), 0.0);
    }
}
