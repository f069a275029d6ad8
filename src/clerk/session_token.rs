//! Which session tokens are accepted. (signatures first)
#![allow(unused_variables, clippy::unused_async, clippy::needless_pass_by_value)]

use super::jwks::KeySet;
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
pub struct Verifier {}

impl Verifier {
    /// `issuer` and `authorized_parties` as configured; `None` and empty mean that they are not checked.
    pub fn new(keys: KeySet, issuer: Option<String>, authorized_parties: Vec<String>) -> Self {
        todo!()
    }
    /// Checks a token at `now_ms`.
    pub async fn verify(&self, token: &str, now_ms: i64) -> Result<Claims, TokenError> {
        todo!()
    }
    /// The key set that it checks with.
    pub fn keys(&self) -> &KeySet {
        todo!()
    }
}
