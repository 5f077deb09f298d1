use std::io::{self, IsTerminal, Write};

use rustix::termios::{self, LocalModes, OptionalActions};

use crate::environment::Environment;

/// What the standard streams are connected to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    /// Somebody can type.
    pub(crate) stdin: bool,
    /// Progress may be drawn.
    pub(crate) stderr: bool,
    /// Results may be coloured.
    pub(crate) colour: bool,
}

impl Terminal {
    /// Asks the streams, and `NO_COLOR` and `TERM` for the colours.
    pub(crate) fn of_process(env: &Environment) -> Self {
        let plain = env.var("NO_COLOR").is_some() || env.text("TERM") == Some("dumb");
        Self {
            stdin: io::stdin().is_terminal(),
            stderr: io::stderr().is_terminal(),
            colour: io::stdout().is_terminal() && !plain,
        }
    }
}

/// Asks for one line on the terminal without showing what is typed.
///
/// # Errors
/// When standard input is no terminal or it cannot be read.
pub(crate) fn prompt_hidden(question: &str) -> io::Result<String> {
    let stdin = io::stdin();
    let before = termios::tcgetattr(&stdin)?;
    let mut quiet = before.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    // First, so that nothing is shown, or lost, of whoever answers at once.
    termios::tcsetattr(&stdin, OptionalActions::Flush, &quiet)?;
    let mut line = String::new();
    eprint!("{question}");
    let asked = io::stderr().flush();
    let read = asked.and_then(|()| stdin.read_line(&mut line));
    termios::tcsetattr(&stdin, OptionalActions::Flush, &before)?;
    eprintln!();
    read?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
