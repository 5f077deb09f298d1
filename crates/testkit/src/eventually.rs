use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// How long [`assert_eventually!`](crate::assert_eventually) waits unless told otherwise.
pub const EVENTUALLY: Duration = Duration::from_secs(15);

const PAUSE: Duration = Duration::from_millis(10);

/// Asks again and again until `condition` holds; false when it did not within `limit`.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(PAUSE);
    }
}

/// Asserts that a condition comes true within [`EVENTUALLY`], and fails with the words after it.
#[macro_export]
macro_rules! assert_eventually {
    ($condition:expr $(,)?) => {
        $crate::assert_eventually!($condition, "{}", stringify!($condition))
    };
    ($condition:expr, $($words:tt)+) => {
        if !$crate::wait_until($crate::EVENTUALLY, || $condition) {
            panic!("never came true: {}", format!($($words)+));
        }
    };
}
