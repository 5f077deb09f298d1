use std::{fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{output::Tint, terminal::Terminal};

/// Uploads below this many bytes are over before a bar could be read.
const SHOW_UPLOAD_FROM: u64 = 1 << 20;
const SPINNER_TICK: Duration = Duration::from_millis(120);

/// Tells on standard error how far a deploy is: live on a terminal, in plain lines elsewhere.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    spinner: ProgressBar,
    colour: bool,
}

impl Progress {
    /// Nothing is drawn before the first step.
    pub(super) fn new(terminal: Terminal) -> Self {
        let spinner = ProgressBar::with_draw_target(None, target(terminal.stderr));
        if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed}") {
            spinner.set_style(style);
        }
        Self {
            spinner,
            colour: terminal.stderr && terminal.colour,
        }
    }

    /// A bar for `length` bytes that go to the server.
    pub(super) fn upload(&self, length: u64) -> ProgressBar {
        let show = length >= SHOW_UPLOAD_FROM && !self.spinner.is_hidden();
        let bar = ProgressBar::with_draw_target(Some(length), target(show));
        let style = "uploading {wide_bar} {bytes}/{total_bytes} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        bar
    }

    /// A bar for bytes that pass by, `length` of them where that is known.
    pub(super) fn transfer(&self, what: &str, length: Option<u64>) -> ProgressBar {
        let bar = ProgressBar::with_draw_target(length, target(!self.spinner.is_hidden()));
        let style = match length {
            Some(_) => format!("{what} {{wide_bar}} {{bytes}}/{{total_bytes}} {{eta}}"),
            None => format!("{what} {{bytes}} {{bytes_per_sec}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&style) {
            bar.set_style(style);
        }
        bar
    }

    /// A step begins.
    pub(super) fn step(&self, text: impl Display) {
        self.print(&Tint::Head.paint(&format!("==> {text}"), self.colour));
        self.spinner.reset_elapsed();
        self.spinner.enable_steady_tick(SPINNER_TICK);
    }

    /// A tool wrote a line.
    pub(super) fn output(&self, text: &str) {
        self.print(&Tint::Dim.paint(&format!("    {}", printable(text)), self.colour));
    }

    /// The work is over: what was drawn goes away.
    pub(super) fn finish(&self) {
        self.spinner.disable_steady_tick();
        self.spinner.finish_and_clear();
    }

    fn print(&self, line: &str) {
        if self.spinner.is_hidden() {
            eprintln!("{line}");
        } else {
            self.spinner.println(line);
        }
    }
}

/// Without the control characters by which a build tool could repaint the terminal.
fn printable(text: &str) -> String {
    let text = text.rsplit('\r').find(|part| !part.is_empty());
    let kept = |c: &char| !c.is_control() || *c == '\t';
    text.unwrap_or_default().chars().filter(kept).collect()
}

fn target(show: bool) -> ProgressDrawTarget {
    if show {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_line_cannot_move_the_cursor() {
        assert_eq!(printable("10%\r50%\r100%\r"), "100%");
        assert_eq!(printable("\x1b[2Jgone\x07"), "[2Jgone");
        assert_eq!(printable("a\tb"), "a\tb");
    }
}
