//! `[[sandbox.workers]]`: where runs are made on other machines.

use std::{collections::HashSet, ops::RangeInclusive};

use hob_engine::pool::{Protocol, WorkerConfig};
use serde::Deserialize;

use super::limits::within;

/// Workers of one server.
const MOST: usize = 1000;
/// Runs of one worker at once.
const SLOTS: RangeInclusive<usize> = 1..=10_000;

/// One worker, as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    url: String,
    id: String,
    #[serde(default)]
    protocol: Protocol,
    #[serde(default)]
    slots: Option<usize>,
}

/// All of them, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workers {
    /// At least one.
    pub(crate) workers: Vec<WorkerConfig>,
    /// What all of them speak.
    pub(crate) protocol: Protocol,
}

impl Workers {
    /// Those that are written; `None` where none are.
    pub(super) fn read(written: Vec<Worker>) -> Result<Option<Self>, String> {
        let Some(first) = written.first() else {
            return Ok(None);
        };
        let protocol = first.protocol;
        if written.iter().any(|worker| worker.protocol != protocol) {
            return Err(
                "all of sandbox.workers must have the same `protocol`: else chance would decide how a run is caged"
                    .into(),
            );
        }
        if written.len() > MOST {
            return Err(format!("sandbox.workers must be at most {MOST}"));
        }
        let mut ids = HashSet::new();
        if let Some(twice) = written.iter().find(|worker| !ids.insert(&worker.id)) {
            return Err(format!(
                "worker `{}` is there twice in sandbox.workers: give each an `id` of its own, and `slots` for several runs at once",
                twice.id
            ));
        }
        let workers = written.into_iter().map(Worker::check);
        Ok(Some(Self {
            workers: workers.collect::<Result<_, String>>()?,
            protocol,
        }))
    }
}

impl Worker {
    fn check(self) -> Result<WorkerConfig, String> {
        let id = self.id.parse();
        let id = id.map_err(|error| format!("sandbox.workers: {error}"))?;
        let url: Option<http::Uri> = self.url.parse().ok();
        let good = url.is_some_and(|url| {
            let scheme = url.scheme_str();
            [Some("http"), Some("https")].contains(&scheme)
                && url.host().is_some_and(|host| !host.is_empty())
                && url.path_and_query().is_none_or(|path| path == "/")
        });
        if !good {
            return Err(format!(
                "sandbox.workers: url `{}` of worker `{id}` is invalid: write http://HOST:PORT",
                self.url
            ));
        }
        Ok(WorkerConfig {
            url: self.url,
            id,
            slots: within("workers.slots", self.slots, 1, &SLOTS)?,
        })
    }
}
