//! How patient the pool is, and how fast it asks.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{sync::Arc, time::Duration};

/// Longest times, and the pauses between tries. The usual ones are [`Pace::default`].
#[derive(Debug, Clone)]
pub struct Pace {
    /// One request to the API, its answer's body included.
    pub request: Duration,
    /// Until a machine has started, at most 60 s: the API waits no longer.
    pub start: Duration,
    /// Until a machine has stopped, at most 60 s.
    pub stop: Duration,
    /// Before another try of what the API was too busy for, or failed at; doubles each time.
    pub busy: Duration,
    /// Before another try of a start that came too early (412); doubles each time.
    pub early: Duration,
    /// Between two machines that are destroyed.
    pub spacing: Duration,
    /// Before another try to destroy what could not be; doubles up to [`Pace::clean`].
    pub destroy: Duration,
    /// Between two looks at all machines of the region.
    pub clean: Duration,
    /// For all machines to be stopped or destroyed when the pool is closed.
    pub close: Duration,
}

/// Tells the time; one of a test's own tells what it wants.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Default for Pace {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            start: Duration::from_secs(60),
            stop: Duration::from_secs(60),
            busy: Duration::from_millis(250),
            early: Duration::from_millis(50),
            spacing: Duration::from_millis(100),
            destroy: Duration::from_secs(1),
            clean: Duration::from_secs(300),
            close: Duration::from_secs(30),
        }
    }
}

// === impl Clock ===

impl Clock {
    /// One that tells what `now` returns.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Seconds since 1970.
    pub(super) fn seconds(&self) -> u64 {
        let since = (self.0)().duration_since(UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
