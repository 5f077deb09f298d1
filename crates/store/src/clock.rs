//! Times as the disk has them: milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time now.
pub fn unix_now() -> i64 {
    unix_time(SystemTime::now())
}

/// The same of any time; what lies before 1970 is its beginning.
pub fn unix_time(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// The same time for the API; what lies before 1970 is its beginning.
pub fn system_time(time: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time).unwrap_or_default())
}
