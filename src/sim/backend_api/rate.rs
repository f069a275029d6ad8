//! Clerk's limit: so many requests in any ten seconds, by a sliding window.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(10);

/// Counts requests. Its clock is tokio's, which a test may pause.
#[derive(Debug, Clone)]
pub struct RateLimit {
    requests_per_10s: usize,
    admitted: VecDeque<Instant>,
}

impl RateLimit {
    /// Clerk has 1,000 for production and 100 for development.
    pub fn new(requests_per_10s: usize) -> Self {
        Self { requests_per_10s, admitted: VecDeque::new() }
    }

    /// Lets a request in, or says how long to stay away.
    pub fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        while self.admitted.front().is_some_and(|at| *at + WINDOW <= now) {
            self.admitted.pop_front();
        }
        if self.admitted.len() < self.requests_per_10s {
            self.admitted.push_back(now);
            return Ok(());
        }
        Err(self.admitted.front().map_or(WINDOW, |at| *at + WINDOW - now))
    }
}
