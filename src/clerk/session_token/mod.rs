//! Which session tokens are accepted.
//!
//! A token passes through three rooms: its form and class (`form`), its signature (`jwks`), its claims
//! (`claims`). The signature comes before the claims, so that a stranger cannot learn from us which issuer or
//! origins are configured; the form comes before the signature, so that garbage never costs a fetch. One that
//! has passed is remembered (`memory`).
//!
//! The rules are those of Clerk's own SDK, and stricter where it costs nothing: the issuer is checked when it
//! is known, a session id must be there, `crit` is refused, and so is a member that is there twice.

mod claims;
mod form;
mod json;
mod memory;

use std::sync::Arc;

use metrics::{Counter, counter};
use tracing::debug;

use self::claims::{Expected, Unchecked};
use self::form::{Header, Parts};
use self::memory::{Memory, Remembered};
use super::jwks::{KeySet, Signed};
use crate::domain::{OrganizationId, Role, UserId};

/// What a good token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// `sub`
    pub user_id: UserId,
    /// The active organization; `None` when the caller has none.
    pub organization: Option<ActiveOrganization>,
    /// `iat`; the least value when the token does not say, so that whatever is stored is newer.
    pub issued_at_ms: i64,
    /// `exp`
    pub expires_at_ms: i64,
}

/// The one organization that a token names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveOrganization {
    /// Its id.
    pub id: OrganizationId,
    /// The caller's role in it.
    pub role: Option<Role>,
}

/// Why a token was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It must not be accepted; the reason is for the log, never for the caller.
    #[error("refused: {0}")]
    Refused(&'static str),
    /// It cannot be checked now: no usable key is known, or its key is unknown and the set cannot be fetched.
    #[error("no key to check it with")]
    KeysUnavailable,
}

/// Checks session tokens.
#[derive(Debug)]
pub struct Verifier {
    keys: KeySet,
    expected: Expected,
    memory: Memory,
    hits: Counter,
    misses: Counter,
}

impl Verifier {
    /// `issuer` and `authorized_parties` as configured; `None` and empty mean that they are not checked.
    pub fn new(keys: KeySet, issuer: Option<String>, authorized_parties: Vec<String>) -> Self {
        let asked =
            |outcome| counter!("roster_cache_requests_total", "cache" => "tokens", "outcome" => outcome);
        Self {
            keys,
            expected: Expected { issuer, authorized_parties },
            memory: Memory::new(),
            hits: asked("hit"),
            misses: asked("miss"),
        }
    }

    /// Checks a token at `now_ms`.
    pub async fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        if let Some(claims) = self.recall(token, now_ms) {
            self.count_recalled();
            return Ok(claims.as_ref().clone());
        }
        self.misses.increment(1);
        let checked = self.check(token, now_ms).await;
        if let Err(error) = &checked {
            debug!(%error, "session token not accepted");
        }
        checked
    }

    /// What a token says that was accepted before, and still is at `now_ms`. `None` when it has to be checked.
    pub fn recall(&self, token: &str, now_ms: i64) -> Option<Arc<Claims>> {
        let remembered = self.memory.recall(&memory::digest(token)?)?;
        let stands = self.keys.fresh_revision(now_ms) == Some(remembered.revision)
            && remembered.times.check(now_ms).is_ok();
        stands.then(|| Arc::clone(&remembered.claims))
    }

    /// Counts a request that was served from what [`Self::recall`] knew.
    pub fn count_recalled(&self) {
        self.hits.increment(1);
    }

    /// The key set that it checks with.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    async fn check(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        let parts = Parts::split(token)?;
        let header = Header::read(&parts.header)?;
        let claims = Unchecked::read(&parts.claims)?;
        let signed = Signed {
            alg: header.alg,
            kid: header.kid.as_deref(),
            message: parts.message,
            signature: parts.signature,
        };
        let revision = self.keys.verify(&signed, now_ms).await?;
        let (claims, times) = claims.check(&self.expected, now_ms)?;
        if let Some(digest) = memory::digest(token) {
            let claims = Arc::new(claims.clone());
            self.memory.remember(digest, Remembered { claims, times, revision });
        }
        Ok(claims)
    }
}
