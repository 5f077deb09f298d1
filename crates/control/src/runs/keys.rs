//! What the query of `/run` says.

use hob_model::sandbox::RunLimits;
use serde::de::DeserializeOwned;

use super::error::RunsError;

/// The keys that count; others are passed by, since some clients have keys of their own.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// Whether the output is wanted as it is.
    pub(super) raw: bool,
    /// Whether the end is wanted with all that is known of it.
    pub(super) end: bool,
    pub(super) language: Option<String>,
    pub(super) limits: RunLimits,
}

impl Keys {
    /// Reads `raw=1&lang=python&time=2s`. Of a key that is there twice the first counts; an empty
    /// value says nothing.
    pub(super) fn read(query: &str) -> Result<Self, RunsError> {
        let mut keys = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if value.is_empty() {
                continue;
            }
            let limits = &mut keys.limits;
            match &*key {
                "raw" => keys.raw = true,
                "end" => keys.end = true,
                "lang" | "language" => {
                    keys.language.get_or_insert_with(|| value.into_owned());
                }
                "time" => set(&mut limits.time, &key, &value)?,
                "cpu" => set(&mut limits.cpu, &key, &value)?,
                "memory" => set(&mut limits.memory, &key, &value)?,
                "pids" => set(&mut limits.pids, &key, &value)?,
                "output" => set(&mut limits.output, &key, &value)?,
                "disk" => set(&mut limits.disk, &key, &value)?,
                _ => {}
            }
        }
        Ok(keys)
    }

    /// Those limits that are said here win over those of the body.
    pub(super) fn over(self, body: RunLimits) -> RunLimits {
        RunLimits {
            time: self.limits.time.or(body.time),
            cpu: self.limits.cpu.or(body.cpu),
            memory: self.limits.memory.or(body.memory),
            pids: self.limits.pids.or(body.pids),
            output: self.limits.output.or(body.output),
            disk: self.limits.disk.or(body.disk),
        }
    }
}

fn set<T: DeserializeOwned>(
    limit: &mut Option<T>,
    key: &str,
    value: &str,
) -> Result<(), RunsError> {
    if limit.is_some() {
        return Ok(());
    }
    let text = match value.parse::<u64>() {
        Ok(number) => serde_json::Value::from(number),
        Err(_) => serde_json::Value::from(value),
    };
    let read = serde_json::from_value(text)
        .map_err(|error| RunsError::Bad(format!("query: {key}: {error}")))?;
    *limit = Some(read);
    Ok(())
}

#[cfg(test)]
mod tests {
    use hob_model::{Memory, Timespan};

    use super::*;

    #[test]
    fn an_empty_value_says_nothing_and_the_first_one_counts() {
        let keys = Keys::read("raw=&end&lang=python&lang=node&x=y&raw=0").expect("valid");
        assert!(keys.raw && !keys.end);
        assert_eq!(keys.language.as_deref(), Some("python"));
        assert_eq!(keys.limits, RunLimits::default());
    }

    #[test]
    fn limits_are_written_as_everywhere() {
        let keys = Keys::read("time=1500ms&cpu=2&memory=64Mi&pids=7&disk=4096").expect("valid");
        let limits = &keys.limits;
        let half = std::time::Duration::from_millis(1500);
        assert_eq!(limits.time, Some(Timespan(half)));
        assert_eq!(limits.cpu, Some(Timespan::from_secs(2)));
        assert_eq!(limits.memory, Some(Memory(64 << 20)));
        assert_eq!((limits.pids, limits.disk), (Some(7), Some(Memory(4096))));
        for query in ["time=soon", "pids=many", "pids=-1", "memory=1.5Mi"] {
            let error = Keys::read(query).expect_err(query).to_string();
            assert!(error.starts_with("query: "), "{error}");
        }
    }
}
