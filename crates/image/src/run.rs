use std::{collections::BTreeMap, path::PathBuf};

use oci_spec::image::Config;
use thiserror::Error;

use crate::{Image, ImageError, ImageRef, UserError, UserIds, find_user};

/// Where programs are when an image does not say; as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// SIGTERM.
const STOP_SIGNAL: i32 = 15;
const LAST_SIGNAL: i32 = 64;
/// The first of the real-time signals, as C programs count them.
const FIRST_REALTIME: i32 = 34;
/// Signals by number, from 1, as Linux counts them on most processors.
const SIGNALS: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// How an image wants to be run, with everything looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunConfig {
    /// Entry point and command.
    pub argv: Vec<String>,
    /// Its environment, with a `PATH` in any case.
    pub env: BTreeMap<String, String>,
    /// Working directory; empty means `/`.
    pub cwd: String,
    /// As whom.
    pub user: UserIds,
    /// What asks it to end, 1 to 64.
    pub stop_signal: i32,
}

/// An image cannot be run as its configuration says.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is nothing to start.
    #[error("has neither an entry point nor a command")]
    NoProgram,
    /// No such signal.
    #[error("has the stop signal `{0}`, which is none")]
    StopSignal(String),
    /// The working directory is no absolute path.
    #[error("has the working directory `{0}`, which is not absolute")]
    WorkingDirectory(String),
    /// Its user cannot be found.
    #[error("{0}")]
    User(#[from] UserError),
}

// === impl RunConfig ===

impl RunConfig {
    /// Of `image`, whose layers are unpacked in `layers`, topmost first. Blocks on the disk.
    ///
    /// # Errors
    /// Names what is wrong with the configuration.
    pub fn of(image: &Image, layers: &[PathBuf], name: &ImageRef) -> Result<Self, ImageError> {
        let config = image.config.config().clone().unwrap_or_default();
        Self::read(&config, layers).map_err(|problem| ImageError::Run {
            image: name.to_string(),
            problem: Box::new(problem),
        })
    }

    fn read(config: &Config, layers: &[PathBuf]) -> Result<Self, RunError> {
        let parts = [config.entrypoint(), config.cmd()];
        let argv: Vec<String> = parts.into_iter().flatten().flatten().cloned().collect();
        if argv.first().is_none_or(String::is_empty) {
            return Err(RunError::NoProgram);
        }
        let mut env = BTreeMap::from([("PATH".to_owned(), PATH.to_owned())]);
        for line in config.env().iter().flatten() {
            // A name without a value takes the host's in some tools; here it has none.
            let (name, value) = line.split_once('=').unwrap_or((line, ""));
            if !name.is_empty() {
                env.insert(name.to_owned(), value.to_owned());
            }
        }
        let cwd = config.working_dir().clone().unwrap_or_default();
        if !cwd.is_empty() && !cwd.starts_with('/') {
            return Err(RunError::WorkingDirectory(cwd));
        }
        let user = config.user().as_deref().unwrap_or_default();
        Ok(Self {
            argv,
            env,
            cwd,
            user: find_user(layers, user)?,
            stop_signal: match config.stop_signal().as_deref() {
                None | Some("") => STOP_SIGNAL,
                Some(text) => signal(text).ok_or_else(|| RunError::StopSignal(text.to_owned()))?,
            },
        })
    }
}

/// `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`.
fn signal(text: &str) -> Option<i32> {
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let number = match name.strip_prefix("RTMIN") {
        Some("") => FIRST_REALTIME,
        Some(offset) => FIRST_REALTIME + offset.strip_prefix('+')?.parse::<i32>().ok()?,
        None => match SIGNALS.iter().position(|known| *known == name) {
            Some(position) => i32::try_from(position).ok()? + 1,
            None => name.parse().ok()?,
        },
    };
    (1..=LAST_SIGNAL).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("quit", Some(3)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGSYS", Some(31)),
            ("SIGNONE", None),
            ("0", None),
            ("65", None),
            ("SIGRTMIN+99", None),
        ] {
            assert_eq!(signal(text), number, "{text}");
        }
    }
}
