//! A key set that is fetched: what is known of it, and when to ask again.
//!
//! Two things must not happen. A stranger's made-up tokens must not make us knock at Clerk's door, and a
//! Clerk that is away must not make us slow. So there is one flight at a time, it belongs to nobody (a caller
//! who hangs up does not end it), and what came to nothing is not tried again within the cool-down.
//!
//! A token under a known key and a fresh set is checked without a lock and never waits for a flight.
//!
//! The cool-down begins with every fetch that an unsuited token asked for, and every fetch that brought no
//! key. A set that was merely old and came back in order begins none: a key rotated right after the start
//! is found at once.

use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tracing::{Instrument as _, debug, trace_span, warn};

use super::Revision;
use super::fetch::{FetchError, Fetcher};
use super::key::{Key, Signed, Verdict};
use crate::clerk::session_token::TokenError;

const FRESH_MS: u64 = 5 * 60 * 1000;
/// How long an old set serves when it cannot be fetched.
const SERVED_MS: u64 = 24 * 60 * 60 * 1000;
const COOL_DOWN_MS: u64 = 30 * 1000;

/// A fetched key set.
#[derive(Debug)]
pub(super) struct Remote {
    known: ArcSwap<CachedKeys>,
    gate: Mutex<Gate>,
    fetcher: Fetcher,
}

/// Replaced as a whole at the end of every flight, also of one that failed.
#[derive(Debug, Default)]
struct CachedKeys {
    keys: Arc<[Key]>,
    /// Moves with every set that was fetched.
    revision: u64,
    fetched_at_ms: Option<i64>,
    last_flight_failed: bool,
}

/// Decides whether a flight may start.
#[derive(Debug, Default)]
struct Gate {
    /// Its sender lives as long as the flight does.
    flight: Option<watch::Receiver<()>>,
    cool_since_ms: Option<i64>,
}

impl Remote {
    pub(super) fn new(fetcher: Fetcher) -> Self {
        Self { known: ArcSwap::default(), gate: Mutex::default(), fetcher }
    }

    /// Whether a usable key is known; tries to fetch the set when none is.
    pub(super) async fn is_available(self: &Arc<Self>, now_ms: i64) -> bool {
        let known = self.known.load_full();
        if !known.keys_at(now_ms).is_empty() {
            return true;
        }
        let newer = self.refetch(&known, false, now_ms).await;
        newer.is_some_and(|known| !known.keys_at(now_ms).is_empty())
    }

    /// The set that is known, when it is fresh.
    pub(super) fn fresh_revision(&self, now_ms: i64) -> Option<Revision> {
        let known = self.known.load();
        known.is_fresh(now_ms).then_some(Revision(known.revision))
    }

    /// Checks a signature with the key that it names. Answers which set has it.
    pub(super) async fn verify(
        self: &Arc<Self>,
        signed: &Signed<'_>,
        now_ms: i64,
    ) -> Result<Revision, TokenError> {
        let Some(kid) = signed.kid else { return Err(TokenError::Refused("`kid` is missing")) };
        let mut known = self.known.load_full();
        let mut has_waited = false;
        if !known.is_fresh(now_ms)
            && let Some(newer) = self.refetch(&known, false, now_ms).await
        {
            known = newer;
            has_waited = true;
        }
        let mut verdict = known.check(kid, signed, now_ms);
        if matches!(verdict, Verdict::UnknownKey | Verdict::BadSignature) {
            if has_waited {
                // That was this token's fetch. Without this, the next made-up token would get another.
                self.gate().cool_since_ms = Some(now_ms);
            } else if let Some(newer) = self.refetch(&known, true, now_ms).await {
                known = newer;
                verdict = known.check(kid, signed, now_ms);
            }
        }
        let cannot_tell =
            known.keys_at(now_ms).is_empty() || (verdict == Verdict::UnknownKey && known.last_flight_failed);
        match verdict {
            Verdict::Good => Ok(Revision(known.revision)),
            _ if cannot_tell => Err(TokenError::KeysUnavailable),
            _ => Err(TokenError::Refused(verdict.reason())),
        }
    }

    /// What is known after a flight that was not over when the caller had `seen` the set: one that has landed
    /// meanwhile, the one under way, or a new one. `None` when none may start now.
    async fn refetch(
        self: &Arc<Self>,
        seen: &Arc<CachedKeys>,
        forced: bool,
        now_ms: i64,
    ) -> Option<Arc<CachedKeys>> {
        let mut flight = {
            let mut gate = self.gate();
            let known = self.known.load_full();
            match &gate.flight {
                _ if !Arc::ptr_eq(&known, seen) => return Some(known),
                Some(flight) if flight.has_changed().is_ok() => flight.clone(),
                _ if gate.is_cooling_down(now_ms) => return None,
                _ => {
                    if forced {
                        gate.cool_since_ms = Some(now_ms);
                    }
                    gate.flight.insert(self.start_flight(now_ms)).clone()
                }
            }
        };
        // Nothing is ever sent: this ends when the flight drops its sender.
        while flight.changed().await.is_ok() {}
        Some(self.known.load_full())
    }

    fn start_flight(self: &Arc<Self>, now_ms: i64) -> watch::Receiver<()> {
        let (sender, receiver) = watch::channel(());
        let remote = Arc::clone(self);
        let flight = async move {
            let fetched = remote.fetcher.fetch().await;
            remote.land(fetched, now_ms);
            drop(sender);
        };
        tokio::spawn(flight.instrument(trace_span!("key set", otel.kind = "client")));
        receiver
    }

    fn land(&self, fetched: Result<Vec<Key>, FetchError>, now_ms: i64) {
        let before = self.known.load_full();
        let known = match fetched {
            Ok(keys) => {
                if keys.is_empty() {
                    warn!("the key set holds no RSA signing key; check CLERK_JWKS_URL");
                } else {
                    debug!(keys = keys.len(), "key set fetched");
                }
                CachedKeys {
                    keys: keys.into(),
                    revision: before.revision + 1,
                    fetched_at_ms: Some(now_ms),
                    last_flight_failed: false,
                }
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn Error,
                    "could not fetch the key set; check CLERK_PUBLISHABLE_KEY or CLERK_JWKS_URL, and the network"
                );
                CachedKeys {
                    keys: Arc::clone(&before.keys),
                    revision: before.revision,
                    fetched_at_ms: before.fetched_at_ms,
                    last_flight_failed: true,
                }
            }
        };
        if known.last_flight_failed || known.keys.is_empty() {
            self.gate().cool_since_ms = Some(now_ms);
        }
        self.known.store(Arc::new(known));
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CachedKeys {
    // Ages are distances: a clock that was set back does not make a set fresh for longer.
    fn is_younger(&self, limit_ms: u64, now_ms: i64) -> bool {
        self.fetched_at_ms.is_some_and(|at_ms| now_ms.abs_diff(at_ms) < limit_ms)
    }

    fn is_fresh(&self, now_ms: i64) -> bool {
        self.is_younger(FRESH_MS, now_ms)
    }

    /// The keys, as long as they may be used.
    fn keys_at(&self, now_ms: i64) -> &[Key] {
        if self.is_younger(SERVED_MS, now_ms) { &self.keys } else { &[] }
    }

    /// Asks every key of that name: while a key is rotated, the old and the new one may share it.
    fn check(&self, kid: &str, signed: &Signed<'_>, now_ms: i64) -> Verdict {
        let mut verdict = Verdict::UnknownKey;
        for key in self.keys_at(now_ms).iter().filter(|key| key.is_named(kid)) {
            match key.check(signed) {
                Verdict::WrongAlgorithm if verdict == Verdict::BadSignature => {}
                Verdict::Good => return Verdict::Good,
                other => verdict = other,
            }
        }
        verdict
    }
}

impl Gate {
    fn is_cooling_down(&self, now_ms: i64) -> bool {
        self.cool_since_ms.is_some_and(|since_ms| now_ms.abs_diff(since_ms) < COOL_DOWN_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_looked_just_before_a_flight_landed_starts_no_second_one() {
        let remote = Arc::new(Remote::new(Fetcher::new("http://127.0.0.1:1/", None).unwrap()));
        let seen = remote.known.load_full();
        remote.land(Ok(Vec::new()), 0);
        for forced in [false, true] {
            let newer = remote.refetch(&seen, forced, 60_000).await.unwrap();
            assert_eq!(newer.fetched_at_ms, Some(0));
        }
        assert!(remote.gate().flight.is_none());
    }
}
