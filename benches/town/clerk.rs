//! What only Clerk can make: session tokens.

use roster::clock;
use roster::sim::keys::SigningKey;
use roster::sim::tokens::SESSION_TOKEN_CATEGORY;
use serde_json::json;

use super::id;

pub(crate) const ISSUER: &str = "https://clerk.example.com";
pub(crate) const PARTY: &str = "https://app.example.com";
const LIFE_S: i64 = 24 * 3_600;

/// An instance's signing key, new at every run.
pub(crate) struct Clerk(SigningKey);

impl Clerk {
    pub(crate) fn new() -> Self {
        Self(SigningKey::generate("ins_2bench00000000000000000000").unwrap())
    }

    pub(crate) fn public_pem(&self) -> String {
        self.0.public_pem().unwrap()
    }

    /// A token of a session of its own; as long as a browser's.
    pub(crate) fn token(&self, user: usize, organization: usize, session: usize) -> String {
        let issued_s = clock::now_ms() / 1_000;
        let header =
            json!({"alg": "RS256", "cat": SESSION_TOKEN_CATEGORY, "kid": self.0.kid(), "typ": "JWT"});
        let claims = json!({
            "azp": PARTY, "exp": issued_s + LIFE_S, "fva": [0, -1], "iat": issued_s, "iss": ISSUER,
            "jti": format!("{session:020x}"), "nbf": issued_s - 10,
            "o": {"id": id("org", organization), "rol": "member", "slg": format!("organization-{organization}")},
            "pla": "u:free_user,o:free_org", "fea": "", "sid": id("sess", session), "sts": "active",
            "sub": id("user", user), "v": 2,
        });
        self.0.sign(&header, &claims).unwrap()
    }
}
