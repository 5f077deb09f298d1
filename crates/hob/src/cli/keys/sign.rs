use std::{
    fs,
    io::{self, Read},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use clap::Args;
use hob_engine::pool::{Authorisation, WorkerId};
use serde::Serialize;

use crate::{
    exit::Failure,
    key_file,
    output::{self, Format, OutputArgs},
};

/// Stands for standard input.
const STDIN: &str = "-";

const EXAMPLE: &str = "\
Examples:
  curl -H \"Authorization: $(hob keys sign worker-1)\" http://10.0.0.2:8001/run -d uptime
  hob keys sign worker-1 --body order.json   good for this order alone, sent as JSON to a `hob worker`";

/// Print an authorisation for one run at a worker
///
/// It is good for 60 seconds and, at a `hob worker`, for one run. Without --body it is for any
/// script, and workers of bfaas take it too.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Sign {
    /// Name of the worker, as its `--id` has it
    worker: WorkerId,
    /// File with the private key
    #[arg(long, value_name = "FILE", default_value = "worker.key")]
    key: PathBuf,
    /// From when on it is good, as in 2026-01-02T03:04:05Z or as seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<SystemTime>,
    /// File with the only body that it is to be good for; `-` is standard input
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Signed {
    authorisation: String,
    worker: String,
    at: String,
}

impl Sign {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let key = key_file::read_private(&self.key)?;
        let at = self.at.unwrap_or_else(SystemTime::now);
        let asked = match &self.body {
            None => Authorisation::plain(&self.worker, at),
            Some(file) => {
                let body = read(file)?;
                let asked = Authorisation::for_body(&self.worker, at, &body);
                asked.map_err(|error| Failure::failed(error.to_string()))?
            }
        };
        let authorisation = asked.sign(&key);
        if self.output.output == Format::Json {
            return output::json(&Signed {
                authorisation,
                worker: self.worker.to_string(),
                at: humantime::format_rfc3339_seconds(at).to_string(),
            });
        }
        output::line(&authorisation)
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == STDIN {
        let mut body = Vec::new();
        io::stdin().lock().read_to_end(&mut body)?;
        return Ok(body);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn parse_time(text: &str) -> Result<SystemTime, String> {
    if let Ok(seconds) = text.parse() {
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        // Later ones cannot be written down as a day.
        return time
            .filter(|time| *time < UNIX_EPOCH + LATEST)
            .ok_or_else(|| "that is too late".into());
    }
    humantime::parse_rfc3339_weak(text)
        .map_err(|_| "write 2026-01-02T03:04:05Z, or seconds since 1970".to_owned())
}

/// The year 9999.
const LATEST: Duration = Duration::from_secs(253_402_300_000);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_day_or_seconds() {
        let expected = Some(UNIX_EPOCH + Duration::from_secs(1_734_600_000));
        for text in ["1734600000", "2024-12-19T09:20:00Z", "2024-12-19 09:20:00"] {
            assert_eq!(parse_time(text).ok(), expected, "{text}");
        }
        for text in ["", "now", "-1", "18446744073709551615"] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }
}
