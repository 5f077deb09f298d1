//! From the start of a program to the first byte of its first answer.

use std::{
    fs, io,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;

use crate::http::{Connection, Target, get};

/// Between two attempts to connect. Short beside the milliseconds that are measured, and long
/// enough to leave the processor to the program.
const POLL: Duration = Duration::from_micros(100);
/// A program that does not answer in this time has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Args)]
pub(crate) struct Start {
    /// Where it will listen: HOST:PORT or unix:PATH
    target: Target,
    /// Path to GET
    #[arg(long, default_value = "/")]
    path: String,
    /// How often
    #[arg(long, default_value_t = 1)]
    times: u32,
    /// Folder to start it in
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Program and arguments
    #[arg(last = true, required = true)]
    argv: Vec<String>,
}

/// Milliseconds from exec to first byte, start by start.
#[derive(Debug, Serialize)]
pub(crate) struct Starts {
    first_byte_ms: Vec<f64>,
}

/// Ends the program with the value: SIGTERM first, so that it can clean up.
struct Running(Child);

impl Start {
    pub(crate) fn run(&self) -> Result<Starts> {
        let times = (0..self.times).map(|_| self.once().map(|time| time.as_secs_f64() * 1000.0));
        Ok(Starts {
            first_byte_ms: times.collect::<Result<_>>()?,
        })
    }

    fn once(&self) -> Result<Duration> {
        if let Target::Unix(path) = &self.target {
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => bail!("{path:?}: {error}"),
                _ => {}
            }
        }
        let mut command = Command::new(&self.argv[0]);
        command
            .args(&self.argv[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        let request = get(&self.path);
        let start = Instant::now();
        let mut running = Running(command.spawn().with_context(|| self.argv[0].clone())?);
        loop {
            if let Ok(mut connection) = Connection::open(&self.target) {
                connection.send(&request)?;
                let answer = connection.receive(false)?;
                let time = start.elapsed();
                if answer.status != 200 {
                    bail!("the first answer had status {}", answer.status);
                }
                return Ok(time);
            }
            if let Some(status) = running.0.try_wait()? {
                bail!("the program ended before it listened ({status})");
            }
            if start.elapsed() > PATIENCE {
                bail!("the program did not listen within {PATIENCE:?}");
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let asked = Instant::now();
        while asked.elapsed() < PATIENCE {
            match self.0.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(1)),
                _ => return,
            }
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(target: &str, script: &str) -> Result<Starts> {
        let argv = ["python3", "-c", script].map(String::from).to_vec();
        let target = target.parse().expect("target");
        Start {
            target,
            path: "/".into(),
            times: 2,
            folder: None,
            argv,
        }
        .run()
    }

    #[test]
    fn a_program_is_timed_until_it_answers() {
        let folder = tempfile::tempdir().expect("folder");
        let socket = folder.path().join("s");
        let script = format!(
            "import socket,time; s=socket.socket(socket.AF_UNIX); time.sleep(.05); s.bind({socket:?}); \
             s.listen(); c,_=s.accept(); c.recv(999); c.send(b'HTTP/1.1 200 OK\\r\\n\\r\\n'); time.sleep(9)"
        );
        let starts = start(&format!("unix:{}", socket.display()), &script).expect("starts");
        assert_eq!(starts.first_byte_ms.len(), 2);
        assert!(
            starts
                .first_byte_ms
                .iter()
                .all(|time| (50.0..9000.0).contains(time)),
            "{starts:?}"
        );
    }

    #[test]
    fn a_program_that_ends_is_an_error() {
        let folder = tempfile::tempdir().expect("folder");
        let target = format!("unix:{}/s", folder.path().display());
        let error = start(&target, "pass").expect_err("no server").to_string();
        assert!(error.contains("ended before it listened"), "{error}");
    }
}
