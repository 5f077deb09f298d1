use std::time::Duration;

use hob_model::{EndReason, sandbox::RunEnd};
use serde::Serialize;
use utoipa::ToSchema;

/// Names of signals from 1 on (`signal(7)`, as on most machines).
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];
const KILLED: &str = "SIGKILL";

/// How a program did, as clients of Piston read it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ExecuteOutcome)]
pub(crate) struct Outcome {
    signal: Option<String>,
    stdout: String,
    stderr: String,
    /// Exit status; `null` when a signal ended it.
    code: Option<i32>,
    /// Both, as they came.
    output: String,
    /// The most at once, in bytes.
    memory: Option<u64>,
    message: Option<String>,
    /// `RE` exit status, `SG` signal, `TO` time, `OL` and `EL` output, `XX` the server's fault.
    status: Option<&'static str>,
    /// Milliseconds.
    cpu_time: Option<f64>,
    /// Milliseconds.
    wall_time: Option<f64>,
}

impl Outcome {
    /// Of a run that wrote `stdout`, `stderr`, and both of them together.
    pub(super) fn new(written: [Vec<u8>; 3], end: &RunEnd) -> Self {
        let on_stderr = written[1].len() > written[0].len();
        let (status, message) = verdict(end, on_stderr);
        let [stdout, stderr, output] = written.map(text);
        let signal = match status {
            Some("TO" | "OL" | "EL") => Some(KILLED.to_owned()),
            _ => end.signal.map(name),
        };
        Self {
            code: signal.is_none().then_some(end.code),
            signal,
            stdout,
            stderr,
            output,
            memory: end.memory,
            message,
            status,
            cpu_time: end.cpu.map(millis),
            wall_time: Some(millis(end.times.run)),
        }
    }
}

/// Status and message.
fn verdict(end: &RunEnd, on_stderr: bool) -> (Option<&'static str>, Option<String>) {
    let own = || Some(end.end.message.clone()).filter(|message| !message.is_empty());
    match (end.end.reason, end.signal) {
        (EndReason::Ok, _) => (None, None),
        (EndReason::Timeout, _) if end.by_deadline => (
            Some("TO"),
            Some("Time limit exceeded (wall clock)".to_owned()),
        ),
        (EndReason::Timeout, _) => (Some("TO"), Some("Time limit exceeded".to_owned())),
        (EndReason::Output, _) if on_stderr => {
            (Some("EL"), Some("stderr length exceeded".to_owned()))
        }
        (EndReason::Output, _) => (Some("OL"), Some("stdout length exceeded".to_owned())),
        (EndReason::Host | EndReason::Cancelled | EndReason::Unready, _) => (Some("XX"), own()),
        (EndReason::Exit, Some(signal)) => {
            (Some("SG"), Some(format!("Caught fatal signal {signal}")))
        }
        (EndReason::Exit, None) => (
            Some("RE"),
            Some(format!("Exited with error status {}", end.code)),
        ),
        (EndReason::Memory | EndReason::Pids, Some(_)) => (Some("SG"), own()),
        (EndReason::Memory | EndReason::Pids, None) => (Some("RE"), own()),
    }
}

fn name(signal: i32) -> String {
    let index = usize::try_from(signal).ok();
    let name = index.and_then(|index| SIGNALS.get(index.checked_sub(1)?));
    name.map_or_else(|| format!("SIG{signal}"), |name| (*name).to_owned())
}

fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

fn millis(time: Duration) -> f64 {
    // No more than what is measured.
    time.as_micros() as f64 / 1000.0
}
