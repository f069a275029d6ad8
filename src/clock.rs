//! The only file that asks what time it is. Everything else is told.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now.
#[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
pub fn system_time() -> SystemTime {
    SystemTime::now()
}

/// The time now, in Unix milliseconds.
pub fn now_ms() -> i64 {
    let since = system_time().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
