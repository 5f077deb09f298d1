use std::{
    collections::VecDeque,
    time::{Duration, Instant as StdInstant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::stream;
use hob_model::{
    End, EndReason,
    port::RunStream,
    sandbox::{RunEnd, RunEvent, RunTimes},
};
use reqwest::Response;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::{
    client::{Held, Protocol, shown},
    sse::{Event, Parser},
};

/// How much longer than its time a run is waited for at a worker that keeps the time itself and
/// knows when all of it is dead.
pub(in crate::pool) const SLACK: Duration = Duration::from_secs(1);
/// Longest that a worker is believed to have taken, in milliseconds: a year.
const LONGEST_MS: f64 = 31_536_000_000.0;

/// What is to be read of a worker's answer.
#[derive(Debug)]
pub(super) struct Reading {
    protocol: Protocol,
    held: Held,
    sent: StdInstant,
}

/// An answer that is being read.
struct Answer {
    /// `None` when the end has been told; the connection is closed then.
    response: Option<Response>,
    reading: Reading,
    parser: Parser,
    /// Bytes that the run may still write.
    output: u64,
    next: VecDeque<RunEvent>,
}

/// The data of the event `exit`: of bfaas the code alone.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exit {
    code: i32,
    end: Option<EndReason>,
    message: Option<String>,
    signal: Option<i32>,
    deadline: bool,
    queue_ms: Option<f64>,
    start_ms: Option<f64>,
    run_ms: Option<f64>,
    cpu_ms: Option<f64>,
    memory: Option<u64>,
}

// === impl Reading ===

impl Reading {
    pub(super) fn new(protocol: Protocol, held: Held) -> Self {
        Self {
            protocol,
            held,
            sent: StdInstant::now(),
        }
    }

    /// How long the worker is listened to.
    pub(super) fn patience(&self) -> Instant {
        match self.protocol {
            Protocol::Hob => self.held.deadline + SLACK,
            Protocol::Bfaas => self.held.deadline,
        }
    }

    /// What the answer says, up to the end.
    pub(super) fn events(self, response: Response) -> RunStream {
        let answer = Answer {
            response: Some(response),
            output: self.held.limits.output.0,
            reading: self,
            parser: Parser::default(),
            next: VecDeque::new(),
        };
        Box::pin(stream::unfold(answer, |mut answer| async move {
            let event = answer.next().await?;
            Some((event, answer))
        }))
    }

    /// The run of a worker that did not even begin to answer in time.
    pub(super) fn too_late(&self) -> RunStream {
        let end = RunEvent::End(self.timeout());
        Box::pin(stream::once(std::future::ready(end)))
    }

    fn timeout(&self) -> RunEnd {
        let time = self.held.limits.time;
        let mut words = format!("passed its time limit of {time}");
        if self.protocol == Protocol::Hob {
            words.push_str(", and the worker does not say that it is dead");
        }
        self.end(End::new(EndReason::Timeout, words))
    }

    fn broken(&self, problem: &str) -> RunEnd {
        self.end(End::new(EndReason::Host, problem))
    }

    /// An end that is known here alone.
    fn end(&self, end: End) -> RunEnd {
        let times = RunTimes {
            queue: self.held.queue,
            start: Duration::ZERO,
            run: self.sent.elapsed(),
        };
        RunEnd::without_program(end, times)
    }

    /// The end that the worker tells.
    fn told(&self, exit: Exit) -> RunEnd {
        let reason = exit.end.unwrap_or(match exit.code {
            0 => EndReason::Ok,
            _ => EndReason::Exit,
        });
        let message = exit.message.map_or_else(
            || match exit.code {
                code if code < 0 => "killed by a signal".to_owned(),
                code => format!("exit status {code}"),
            },
            |message| shown(&message),
        );
        RunEnd {
            code: exit.code,
            signal: exit.signal,
            end: End::new(reason, message),
            by_deadline: exit.deadline && reason == EndReason::Timeout,
            times: RunTimes {
                queue: self.held.queue + exit.queue_ms.and_then(millis).unwrap_or_default(),
                start: exit.start_ms.and_then(millis).unwrap_or_default(),
                run: exit
                    .run_ms
                    .and_then(millis)
                    .unwrap_or_else(|| self.sent.elapsed()),
            },
            cpu: exit.cpu_ms.and_then(millis),
            memory: exit.memory,
        }
    }
}

// === impl Answer ===

impl Answer {
    async fn next(&mut self) -> Option<RunEvent> {
        loop {
            if let Some(event) = self.next.pop_front() {
                if matches!(event, RunEvent::End(_)) {
                    self.next.clear();
                    self.response = None;
                }
                return Some(event);
            }
            let response = self.response.as_mut()?;
            match timeout_at(self.reading.patience(), response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.take(&bytes),
                Ok(_) if Instant::now() >= self.reading.held.deadline => {
                    self.end(self.reading.timeout());
                }
                Ok(_) => self.end(self.reading.broken("the worker's answer broke off")),
                Err(_) => self.end(self.reading.timeout()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.parser.push(bytes).is_err() {
            self.end(
                self.reading
                    .broken("the worker sent an event that is too large"),
            );
            return;
        }
        while let Some(event) = self.parser.next() {
            if self.read(&event).is_none() {
                self.end(
                    self.reading
                        .broken("the worker sent what is no event of a run"),
                );
            }
        }
    }

    /// Takes one event; `None` when it cannot be read. Events of another name are passed over.
    fn read(&mut self, event: &Event) -> Option<()> {
        match event.name.as_str() {
            "stdout" => self.output(RunEvent::Stdout, self.bytes(&event.data)?),
            "stderr" => self.output(RunEvent::Stderr, self.bytes(&event.data)?),
            "exit" => {
                let exit = serde_json::from_slice(&event.data).ok()?;
                self.end(self.reading.told(exit));
            }
            _ => {}
        }
        Some(())
    }

    /// What was written: hobs are asked for base64.
    fn bytes(&self, data: &[u8]) -> Option<Vec<u8>> {
        let text: String = serde_json::from_slice(data).ok()?;
        match self.reading.protocol {
            Protocol::Hob => STANDARD.decode(text).ok(),
            Protocol::Bfaas => Some(text.into_bytes()),
        }
    }

    /// Counts what was written, as not every worker does.
    fn output(&mut self, make: fn(Vec<u8>) -> RunEvent, mut bytes: Vec<u8>) {
        let fits = usize::try_from(self.output).unwrap_or(usize::MAX);
        let over = bytes.len() > fits;
        bytes.truncate(fits);
        self.output -= bytes.len() as u64;
        if !bytes.is_empty() {
            self.next.push_back(make(bytes));
        }
        if over {
            let most = self.reading.held.limits.output;
            let end = End::new(
                EndReason::Output,
                format!("wrote more than its {most} of output"),
            );
            self.end(self.reading.end(end));
        }
    }

    fn end(&mut self, end: RunEnd) {
        self.next.push_back(RunEvent::End(end));
    }
}

fn millis(ms: f64) -> Option<Duration> {
    (0.0..=LONGEST_MS)
        .contains(&ms)
        .then(|| Duration::from_secs_f64(ms / 1000.0))
}
