use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use clap::{Args, ValueEnum};
use serde::Serialize;

/// The flag of every verb that lists something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct OutputArgs {
    /// How to print: aligned text for people, or JSON for programs.
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Format,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Prints `value` as indented JSON.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    line(&text)
}

/// Prints what a verb that lists something found: as JSON, or in the table that `table` makes of
/// it; `none` says what to do where there is nothing.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn list<T: Serialize>(
    found: Vec<T>,
    output: OutputArgs,
    none: &str,
    colour: bool,
    table: impl FnOnce(Vec<T>) -> Table,
) -> anyhow::Result<()> {
    if output.output == Format::Json {
        return json(&found);
    }
    if found.is_empty() {
        eprintln!("{none}");
        return Ok(());
    }
    table(found).print(colour)
}

/// Prints one line on standard output.
///
/// # Errors
/// When standard output cannot be written.
pub(crate) fn line(text: &str) -> anyhow::Result<()> {
    writeln!(io::stdout().lock(), "{text}")?;
    Ok(())
}

/// How a cell is tinted on a terminal that shows colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    /// As the terminal writes by itself.
    Plain,
    /// All is well.
    Good,
    /// Worth a look.
    Odd,
    /// Broken.
    Bad,
    /// A heading.
    Head,
    /// Of lesser weight.
    Dim,
}

impl Tint {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Good => "32",
            Self::Odd => "33",
            Self::Bad => "31",
            Self::Head => "1",
            Self::Dim => "2",
        }
    }

    /// `text` in this tint, or as it is.
    pub(crate) fn paint(self, text: &str, colour: bool) -> String {
        if colour && self != Self::Plain {
            format!("\x1b[{}m{text}\x1b[0m", self.code())
        } else {
            text.to_owned()
        }
    }
}

/// One field of a [`Table`].
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    /// A cell with a tint of its own.
    pub(crate) fn tinted(text: impl Into<String>, tint: Tint) -> Self {
        Self {
            text: text.into(),
            tint,
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::tinted(text, Tint::Plain)
    }
}

/// Columns that line up, two spaces apart; the last one has no padding.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

const GAP: usize = 2;

impl Table {
    /// A table with a heading.
    pub(crate) fn with_head<const N: usize>(head: [&str; N]) -> Self {
        let head = head.map(|text| Cell::tinted(text, Tint::Head));
        Self {
            rows: vec![head.into()],
        }
    }

    /// A table of keys and values, with no heading.
    pub(crate) fn plain() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub(crate) fn row<const N: usize>(&mut self, row: [Cell; N]) {
        self.rows.push(row.into());
    }

    /// Adds a key and its value.
    pub(crate) fn pair(&mut self, key: &str, value: impl Into<Cell>) {
        self.row([Cell::tinted(key, Tint::Head), value.into()]);
    }

    /// Writes it to standard output.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(crate) fn print(&self, colour: bool) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(self.render(colour).as_bytes())?;
        Ok(())
    }

    fn render(&self, colour: bool) -> String {
        let mut widths: Vec<usize> = Vec::new();
        for row in &self.rows {
            widths.resize(widths.len().max(row.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                text.push_str(&cell.tint.paint(&cell.text, colour));
                if at + 1 < row.len() {
                    let pad = widths[at] - cell.text.chars().count() + GAP;
                    text.extend(std::iter::repeat_n(' ', pad));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// How long ago, in the largest unit that is not zero: `3m`.
pub(crate) fn age(since: SystemTime) -> String {
    short_duration(since.elapsed().unwrap_or_default())
}

/// How far ahead, `in 3m`; `None` when it is over.
pub(crate) fn ahead(time: SystemTime) -> Option<String> {
    let left = time.duration_since(SystemTime::now()).ok()?;
    Some(format!("in {}", short_duration(left)))
}

/// A span in its largest unit: `45s`, `3m`, `5h`, `2d`.
pub(crate) fn short_duration(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3_600 => format!("{}m", seconds / 60),
        seconds @ 3_600..86_400 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// Milliseconds as people read them: `0.6 ms`, `21 ms`, `3.2 s`.
pub(crate) fn millis(millis: f64) -> String {
    match millis {
        short if short < 9.95 => format!("{short:.1} ms"),
        long if long < 999.5 => format!("{long:.0} ms"),
        long => format!("{:.1} s", long / 1000.0),
    }
}

/// Bytes with one decimal and a binary unit: `12.3 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{count} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// The first twelve characters of a digest, as people read it.
pub(crate) fn short_digest(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// `1 file`, `2 files`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_the_last_has_no_trailing_space() {
        let mut table = Table::with_head(["NAME", "STATE"]);
        table.row(["a-long-name".into(), Cell::tinted("hot", Tint::Good)]);
        table.row(["b".into(), "stopped".into()]);
        assert_eq!(
            table.render(false),
            "NAME         STATE\na-long-name  hot\nb            stopped\n"
        );
        assert!(table.render(true).contains("\x1b[32mhot\x1b[0m"));
    }

    #[test]
    fn quantities_read_well() {
        assert_eq!(bytes(512), "512 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        let times = [0.64, 9.96, 21.2, 999.9].map(millis);
        assert_eq!(times, ["0.6 ms", "10 ms", "21 ms", "1.0 s"]);
        assert_eq!(short_duration(Duration::from_secs(7_300)), "2h");
        assert_eq!(short_digest("abc"), "abc");
        assert_eq!(
            (count(1, "file"), count(0, "file")),
            ("1 file".into(), "0 files".into())
        );
    }
}
