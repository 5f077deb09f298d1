use croner::{
    Cron, Direction,
    parser::{CronParser, Seconds, Year},
};
use hob_model::{Schedule, Timespan};
use jiff::{Timestamp, tz};

use super::ScheduleError;

/// Shortest and longest period of `@every`, in milliseconds: a second and a year.
const PERIOD: std::ops::RangeInclusive<i64> = 1_000..=366 * 86_400_000;
const EXAMPLE: &str = "write five fields such as `*/5 * * * *`, `@daily` or `@every 10m`";

/// When a schedule runs: all times are milliseconds since 1970.
pub(super) enum Timing {
    /// By the fields of a crontab.
    Cron(Box<Cron>, tz::TimeZone),
    /// Again and again after so many milliseconds.
    Every(i64),
}

// === impl Timing ===

impl Timing {
    /// Reads `schedule` as OpenFaaS's cron connector does: five fields, a name, or `@every`.
    pub(super) fn of(schedule: &Schedule) -> Result<Self, ScheduleError> {
        let zone = match &schedule.zone {
            Some(zone) => zone_called(zone, schedule)?,
            None => tz::TimeZone::UTC,
        };
        let timing = Self::parse(schedule.cron.trim(), zone);
        timing.map_err(|problem| ScheduleError::Unreadable {
            schedule: schedule.to_string(),
            problem,
        })
    }

    fn parse(text: &str, zone: tz::TimeZone) -> Result<Self, String> {
        // It goes into a field of a request's head.
        if !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return Err(format!("holds a character that no schedule has: {EXAMPLE}"));
        }
        if let Some(period) = text.strip_prefix("@every ") {
            return period_of(period.trim()).map(Self::Every);
        }
        let fields = match text {
            "@midnight" => "@daily",
            "@reboot" => return Err("there is no start to run at: use `@every` or times".into()),
            other => other,
        };
        let count = fields.split(' ').filter(|field| !field.is_empty()).count();
        if !fields.starts_with('@') && count == 6 {
            return Err(
                "has six fields: seconds are written with `@every 10s`, all else with five fields"
                    .into(),
            );
        }
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            // `5/15` is from 5 on every 15, as in the connector's library.
            .sloppy_ranges(true)
            .build();
        match parser.parse(fields) {
            Ok(cron) => Ok(Self::Cron(Box::new(cron), zone)),
            Err(_) if count != 5 => Err(format!("is no schedule: {EXAMPLE}")),
            Err(error) => Err(format!("{}: {EXAMPLE}", plain(&error.to_string()))),
        }
    }

    /// The first run after `since`, up to which all are settled. `None`: there is none.
    pub(super) fn next(&self, since: i64) -> Option<i64> {
        match self {
            Self::Every(period) => since.checked_add(*period),
            Self::Cron(cron, zone) => {
                let since = at(since)?.to_zoned(zone.clone());
                let next = cron.find_next_occurrence(&since, false).ok()?;
                Some(next.timestamp().as_millisecond())
            }
        }
    }

    /// The newest runs after `since` and up to `now`, at most `most`, the oldest first.
    pub(super) fn due(&self, since: i64, now: i64, most: usize) -> Vec<i64> {
        let mut runs: Vec<i64> = match self {
            Self::Every(period) => {
                let newest = now.saturating_sub(since).div_euclid(*period);
                let newest_first = (1..=newest).rev().take(most);
                newest_first.map(|count| since + count * period).collect()
            }
            Self::Cron(cron, zone) => {
                let Some(now) = at(now) else {
                    return Vec::new();
                };
                let runs = cron.iter_from(now.to_zoned(zone.clone()), Direction::Backward);
                let runs = runs.map(|run| run.timestamp().as_millisecond());
                runs.take_while(|run| *run > since).take(most).collect()
            }
        };
        runs.reverse();
        runs
    }
}

/// A time as a field of a head has it: `2026-11-22T14:00:00Z`.
pub(super) fn rfc3339(time: i64) -> String {
    at(time).unwrap_or_default().to_string()
}

fn at(time: i64) -> Option<Timestamp> {
    Timestamp::from_millisecond(time).ok()
}

fn zone_called(zone: &str, schedule: &Schedule) -> Result<tz::TimeZone, ScheduleError> {
    if zone.eq_ignore_ascii_case("UTC") {
        // The one that a machine without a database knows too.
        return Ok(tz::TimeZone::UTC);
    }
    tz::db().get(zone).map_err(|_| {
        let schedule = schedule.to_string();
        if tz::db().is_definitively_empty() {
            ScheduleError::NoZones { schedule }
        } else {
            let zone = zone.to_owned();
            ScheduleError::Zone { schedule, zone }
        }
    })
}

fn period_of(text: &str) -> Result<i64, String> {
    let period: Timespan = text
        .parse()
        .map_err(|error: hob_model::QuantityError| error.to_string())?;
    let millis = i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX);
    if !PERIOD.contains(&millis) {
        return Err("must be every second at most, and every year at least".into());
    }
    Ok(millis)
}

/// The library's words without their heading and full stop.
fn plain(words: &str) -> &str {
    let words = words.split_once(": ").map_or(words, |(_, words)| words);
    words.trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn timing(text: &str) -> Timing {
        Timing::of(&text.into()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn millis(text: &str) -> i64 {
        let time: Timestamp = text.parse().expect("a time");
        time.as_millisecond()
    }

    /// The runs from `since` to `until`, each found from the one before.
    fn forward(timing: &Timing, since: i64, until: i64) -> Vec<i64> {
        let next = |since: &i64| timing.next(*since);
        std::iter::successors(timing.next(since), next)
            .take_while(|run| *run <= until)
            .collect()
    }

    #[track_caller]
    fn runs(schedule: &str, since: &str, until: &str, expected: &[&str]) {
        let runs = forward(&timing(schedule), millis(since), millis(until));
        let runs: Vec<String> = runs.into_iter().map(rfc3339).collect();
        assert_eq!(runs, expected, "{schedule}");
    }

    #[test]
    fn the_usual_schedules_are_read() {
        let day = ("2026-03-02T10:07:00Z", "2026-03-02T10:30:00Z");
        let (since, until) = day;
        runs(
            "*/10 * * * *",
            since,
            until,
            &[
                "2026-03-02T10:10:00Z",
                "2026-03-02T10:20:00Z",
                "2026-03-02T10:30:00Z",
            ],
        );
        runs("5/20 * * * *", since, until, &["2026-03-02T10:25:00Z"]);
        runs(
            "@hourly",
            since,
            "2026-03-02T11:00:00Z",
            &["2026-03-02T11:00:00Z"],
        );
        runs(
            "@midnight",
            since,
            "2026-03-03T00:00:00Z",
            &["2026-03-03T00:00:00Z"],
        );
        runs(
            "@weekly",
            since,
            "2026-03-08T00:00:00Z",
            &["2026-03-08T00:00:00Z"],
        );
        runs(
            "@monthly",
            since,
            "2026-04-01T00:00:00Z",
            &["2026-04-01T00:00:00Z"],
        );
        runs(
            "@yearly",
            since,
            "2027-01-01T00:00:00Z",
            &["2027-01-01T00:00:00Z"],
        );
        runs(
            "@every 11m30s",
            since,
            until,
            &["2026-03-02T10:18:30Z", "2026-03-02T10:30:00Z"],
        );
        runs(
            "CRON_TZ=Asia/Tokyo 0 9 * * mon-fri",
            since,
            "2026-03-03T00:00:00Z",
            &["2026-03-03T00:00:00Z"],
        );
    }

    #[test]
    fn mistakes_are_named_with_their_cure() {
        for (text, expected) in [
            ("", "is no schedule: write five fields"),
            ("61 * * * *", "schedule `61 * * * *`"),
            ("* * * *", "is no schedule"),
            (
                "*/5 * * * * *",
                "has six fields: seconds are written with `@every 10s`",
            ),
            ("@never", "is no schedule"),
            ("@reboot", "no start to run at"),
            ("@every 1ms", "every second at most"),
            ("@every soon", "duration `soon`"),
            ("*/5\n* * * *", "a character that no schedule has"),
            (
                "TZ=Mars/Olympus 0 9 * * *",
                "there is no time zone `Mars/Olympus`",
            ),
            ("TZ=../../etc/passwd 0 9 * * *", "there is no time zone"),
        ] {
            let error = Timing::of(&text.into()).err().expect(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n') || text.contains('\n'), "{error}");
        }
        assert_eq!(timing("0 0 30 2 *").next(0), None);
    }

    #[test]
    fn an_hour_that_is_skipped_moves_fixed_runs_behind_it() {
        // 2026-03-29 02:00 to 03:00 does not exist in Berlin.
        let (since, until) = ("2026-03-29T00:00:00Z", "2026-03-29T02:00:00Z");
        runs(
            "TZ=Europe/Berlin 30 2 * * *",
            since,
            until,
            &["2026-03-29T01:00:00Z"],
        );
        runs(
            "TZ=Europe/Berlin */30 * * * *",
            since,
            until,
            &[
                "2026-03-29T00:30:00Z",
                "2026-03-29T01:00:00Z",
                "2026-03-29T01:30:00Z",
                "2026-03-29T02:00:00Z",
            ],
        );
    }

    #[test]
    fn an_hour_that_comes_twice_has_fixed_runs_once() {
        // 2026-10-25 02:00 to 03:00 comes twice in Berlin.
        let (since, until) = ("2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z");
        runs(
            "TZ=Europe/Berlin 30 2 * * *",
            since,
            until,
            &["2026-10-25T00:30:00Z"],
        );
        runs(
            "TZ=Europe/Berlin 30 * * * *",
            since,
            until,
            &["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"],
        );
    }

    #[test]
    fn looking_back_finds_the_same_runs_as_looking_ahead() {
        let (since, until) = (
            millis("2026-01-01T00:00:30Z"),
            millis("2027-01-01T00:00:30Z"),
        );
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
        ] {
            for cron in [
                "30 2 * * *",
                "15 1 * * 0",
                "*/20 1-3 * * *",
                "0 3 L * *",
                "0 12 13 * 5",
            ] {
                let timing = timing(&format!("CRON_TZ={zone} {cron}"));
                let ahead = forward(&timing, since, until);
                let back = timing.due(since, until, usize::MAX);
                assert!(!ahead.is_empty());
                let mut odd: Vec<_> = ahead.iter().filter(|run| !back.contains(run)).collect();
                odd.extend(back.iter().filter(|run| !ahead.contains(run)));
                let odd: Vec<_> = odd.into_iter().map(|run| rfc3339(*run)).collect();
                assert!(odd.is_empty(), "{zone} {cron}: {odd:?}");
            }
        }
    }

    #[test]
    fn of_many_due_runs_the_newest_are_taken() {
        let minutely = timing("* * * * *");
        assert_eq!(minutely.due(0, 10 * DAY, 2), [10 * DAY - 60_000, 10 * DAY]);
        assert_eq!(
            timing("@every 1h").due(0, DAY + 1, 2),
            [DAY - 3_600_000, DAY]
        );
        assert!(minutely.due(DAY, DAY + 59_999, 2).is_empty());
        assert!(timing("@every 1h").due(DAY, DAY - 5, 2).is_empty());
    }
}
