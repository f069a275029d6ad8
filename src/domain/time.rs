//! Moments are Unix milliseconds (`i64`, names end in `_ms`) until they are shown.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat};

/// 0001-01-01T00:00:00.000Z.
pub const MIN_MS: i64 = -62_135_596_800_000;
/// 9999-12-31T23:59:59.999Z.
pub const MAX_MS: i64 = 253_402_300_799_999;

/// Whether a moment lies within the years 1 to 9999, so that it can be shown with four digits.
pub fn is_showable(at_ms: i64) -> bool {
    (MIN_MS..=MAX_MS).contains(&at_ms)
}

/// ISO 8601 in UTC with milliseconds and `Z`. A moment outside the years 1 to 9999 is brought to their edge.
pub fn iso8601(at_ms: i64) -> String {
    DateTime::from_timestamp_millis(at_ms.clamp(MIN_MS, MAX_MS))
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// Milliseconds as seconds, the unit of metrics. What lies before zero counts as zero.
pub fn seconds(ms: i64) -> f64 {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_with_milliseconds_and_z() {
        assert_eq!(iso8601(1_654_012_591_835), "2022-05-31T15:56:31.835Z");
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(MIN_MS), "0001-01-01T00:00:00.000Z");
        assert_eq!(iso8601(MAX_MS), "9999-12-31T23:59:59.999Z");
        assert_eq!(iso8601(i64::MAX), iso8601(MAX_MS));
    }
}
