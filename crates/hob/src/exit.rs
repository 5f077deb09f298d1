use std::{io, process::ExitCode};

use thiserror::Error;

use crate::client::ClientError;

/// How `hob` ends. The numbers are a contract with scripts and never change their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// All was done.
    Ok = 0,
    /// The server, a build or the function said no, or this machine failed.
    Failed = 1,
    /// No function, queued call, secret, certificate or context of that name.
    NotFound = 3,
    /// No hob answers, or it stopped answering.
    Unreachable = 4,
    /// The login is missing or wrong or may not do this, or this user may not use the socket.
    Denied = 5,
    /// The command line or the configuration is wrong; nothing was tried.
    Usage = 64,
}

/// The exit codes as `hob help` shows them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0   done
  1   the server, a build or the function said no, or this machine failed
  3   no function, queued call, secret, certificate or context of that name
  4   no hob answers
  5   the login is missing or wrong or may not do this, or this user may not use the socket
  64  the command line or the configuration is wrong; nothing was tried";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that knows its exit code. All errors without one end with [`Exit::Failed`].
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command line or the configuration is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Something was tried and did not work.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// A failure of any kind.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

/// Prints an error once, on one line, and says how the process ends.
pub(crate) fn report(error: &anyhow::Error) -> Exit {
    if is_broken_pipe(error) {
        // The reader of our output has seen enough: `hob logs | head`.
        return Exit::Ok;
    }
    eprintln!("error: {}", one_line(error));
    code(error)
}

/// The whole chain, but no link twice: many errors have the words of their cause in their own.
fn one_line(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |line, link| {
        let words = link.to_string();
        if line.is_empty() {
            words
        } else if line.ends_with(&words) {
            line
        } else {
            format!("{line}: {words}")
        }
    })
}

/// The exit code of an error.
pub(crate) fn code(error: &anyhow::Error) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    error
        .downcast_ref::<ClientError>()
        .map_or(Exit::Failed, ClientError::exit)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_code_under_added_context() {
        let error = anyhow::Error::from(Failure::usage("no")).context("while trying");
        assert_eq!(code(&error), Exit::Usage);
        assert_eq!(code(&anyhow::anyhow!("other")), Exit::Failed);
    }

    #[test]
    fn a_cause_is_told_once() {
        #[derive(Debug, Error)]
        #[error("cannot read `x`: {source}")]
        struct Unreadable {
            source: io::Error,
        }
        let source = io::Error::other("it is gone");
        let error = anyhow::Error::from(Unreadable { source }).context("while trying");
        assert_eq!(
            one_line(&error),
            "while trying: cannot read `x`: it is gone"
        );
    }

    #[test]
    fn the_help_lists_every_code() {
        for exit in [
            Exit::Ok,
            Exit::Failed,
            Exit::NotFound,
            Exit::Unreachable,
            Exit::Denied,
            Exit::Usage,
        ] {
            let number = format!("\n  {:<2}  ", exit as u8);
            assert!(EXIT_CODES.contains(&number), "{exit:?}");
        }
    }
}
