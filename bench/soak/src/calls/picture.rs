//! A picture of a run: how long calls took, and what was done meanwhile.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use super::{chronicle::Chronicle, judge::Class, report::percentile, sample::Sample};

const WIDTH: f64 = 1200.0;
const HEIGHT: f64 = 520.0;
/// Room for words around the plot.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 50.0;
/// Points of each line.
const COLUMNS: usize = 300;
/// The axis of latency is logarithmic, from this to this power of ten milliseconds.
const DECADES: std::ops::RangeInclusive<i32> = -1..=4;
/// Seconds between two marks of the axis of time: the first of which there are not too many.
const TICKS: [f64; 6] = [1.0, 5.0, 10.0, 30.0, 60.0, 300.0];
const TICKS_MAX: f64 = 16.0;

const P50: &str = "#1b6ca8";
const P99: &str = "#8a4fbf";
const SLOWEST: &str = "#b9b9b9";
const HOB: &str = "#c62828";
const REPLICA: &str = "#ef8e19";
const DEPLOY: &str = "#2e8b57";

/// Where times and latencies are in the picture.
struct Axes {
    began: Instant,
    seconds: f64,
}

/// Draws the calls, judged, from the first one on.
pub(super) fn draw(calls: &[(Sample, Class)], chronicle: &Chronicle, began: Instant) -> String {
    let last = calls.iter().map(|call| call.0.due).max().unwrap_or(began);
    let axes = Axes {
        began,
        seconds: (last - began).as_secs_f64().max(1.0),
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    axes.phases(&mut svg, chronicle);
    axes.grid(&mut svg);
    axes.faults(&mut svg, chronicle);
    axes.lines(&mut svg, calls);
    axes.failures(&mut svg, calls);
    legend(&mut svg);
    svg.push_str("</svg>\n");
    svg
}

impl Axes {
    fn x(&self, at: Instant) -> f64 {
        let seconds = at.saturating_duration_since(self.began).as_secs_f64();
        LEFT + (WIDTH - LEFT - RIGHT) * (seconds / self.seconds).min(1.0)
    }

    fn y(latency: Duration) -> f64 {
        let (low, high) = (f64::from(*DECADES.start()), f64::from(*DECADES.end()));
        let decade = (latency.as_secs_f64() * 1e3).log10().clamp(low, high);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (decade - low) / (high - low)
    }

    /// Each phase is a band with its name above.
    fn phases(&self, svg: &mut String, chronicle: &Chronicle) {
        for (turn, (fault, span)) in chronicle.phases.iter().enumerate() {
            let (from, to) = (self.x(span.start), self.x(span.end));
            let fill = if turn % 2 == 0 { "#f4f4f1" } else { "#ffffff" };
            let _ = writeln!(
                svg,
                "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                to - from,
                HEIGHT - TOP - BOTTOM,
                (from + to) / 2.0,
                TOP - 8.0,
                fault.name()
            );
        }
    }

    fn grid(&self, svg: &mut String) {
        for decade in DECADES {
            let millis = 10_f64.powi(decade);
            let y = Self::y(Duration::from_secs_f64(millis / 1e3));
            let _ = writeln!(
                svg,
                "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#dddddd\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{millis} ms</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let few = |step: &&f64| self.seconds / **step <= TICKS_MAX;
        let step = *TICKS.iter().find(few).unwrap_or(&600.0);
        let mut seconds = 0.0;
        while seconds <= self.seconds {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{seconds} s</text>",
                self.x(self.began + Duration::from_secs_f64(seconds)),
                HEIGHT - BOTTOM + 18.0
            );
            seconds += step;
        }
    }

    /// Kills cross the plot, deploys are marks at its foot.
    fn faults(&self, svg: &mut String, chronicle: &Chronicle) {
        let mut mark = |at: Instant, top: f64, colour: &str| {
            let x = self.x(at);
            let foot = HEIGHT - BOTTOM;
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{foot}\" stroke=\"{colour}\"/>"
            );
        };
        for at in chronicle.deploy_times() {
            mark(at, HEIGHT - BOTTOM - 8.0, DEPLOY);
        }
        for (_, kill) in &chronicle.replica_kills {
            mark(kill.start, TOP, REPLICA);
        }
        for kill in &chronicle.hob_kills {
            mark(kill.start, TOP, HOB);
        }
    }

    /// The half, the slowest hundredth and the slowest of all calls that were due in each column.
    fn lines(&self, svg: &mut String, calls: &[(Sample, Class)]) {
        let mut columns = vec![Vec::new(); COLUMNS];
        for (call, _) in calls.iter().filter(|call| call.1.is_answered()) {
            let seconds = call.due.saturating_duration_since(self.began).as_secs_f64();
            let column = (seconds / self.seconds * COLUMNS as f64) as usize;
            columns[column.min(COLUMNS - 1)].push(call.latency());
        }
        columns.iter_mut().for_each(|column| column.sort_unstable());
        for (share, colour) in [(1.0, SLOWEST), (0.99, P99), (0.5, P50)] {
            let filled = columns.iter().enumerate();
            let filled = filled.filter(|(_, column)| !column.is_empty());
            let points = filled.map(|(turn, column)| {
                let middle = (turn as f64 + 0.5) / COLUMNS as f64 * self.seconds;
                let x = self.x(self.began + Duration::from_secs_f64(middle));
                format!("{x:.1},{:.1}", Self::y(percentile(column, share)))
            });
            let points: Vec<_> = points.collect();
            let _ = writeln!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
                points.join(" ")
            );
        }
    }

    /// A cross at the top for each call that counts, a smaller one for each by its own replica.
    fn failures(&self, svg: &mut String, calls: &[(Sample, Class)]) {
        for (call, class) in calls.iter().filter(|call| !call.1.is_answered()) {
            let (colour, size) = if class.counts() {
                (HOB, 20)
            } else {
                (REPLICA, 12)
            };
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\" font-size=\"{size}\" text-anchor=\"middle\">×</text>",
                self.x(call.due),
                TOP + 14.0
            );
        }
    }
}

fn legend(svg: &mut String) {
    let words = [
        (P50, "p50"),
        (P99, "p99"),
        (SLOWEST, "slowest"),
        (DEPLOY, "a deploy"),
        (REPLICA, "a replica is killed; × a call failed by it"),
        (HOB, "hob is killed; × a call failed that may not"),
    ];
    let mut x = LEFT;
    for (colour, word) in words {
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"14\" width=\"12\" height=\"12\" fill=\"{colour}\"/>\n\
             <text x=\"{:.0}\" y=\"24\">{word}</text>",
            x + 17.0
        );
        x += 40.0 + 6.2 * word.chars().count() as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_stand_where_their_decade_is() {
        let foot = HEIGHT - BOTTOM;
        let y = |micros| Axes::y(Duration::from_micros(micros));
        assert_eq!(y(0), foot);
        assert_eq!(y(100), foot);
        assert_eq!(y(10_000_000), TOP);
        assert_eq!(y(100_000_000), TOP);
        let (one, ten) = (y(1_000), y(10_000));
        assert!((foot - one - (one - ten)).abs() < 1e-6);
    }

    #[test]
    fn a_run_without_calls_is_an_empty_plot() {
        let svg = draw(&[], &Chronicle::default(), Instant::now());
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<polyline").count(), 3);
        assert!(svg.contains("10000 ms") && svg.contains(">1 s<"), "{svg}");
    }
}
