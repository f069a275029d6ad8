//! Makes tokens, right and wrong ones.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RsaEncoding;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use roster::clerk::jwks::KeySet;
use roster::clerk::session_token::{Claims, TokenError, Verifier};
use roster::config::KeySource;
use roster::sim::keys::SigningKey;
use serde_json::{Value, json};

pub(super) const NOW_MS: i64 = 1_795_000_000_000;
/// The same moment as tokens write it.
pub(super) const NOW: i64 = NOW_MS / 1000;
pub(super) const ISSUER: &str = "https://clerk.example.com";
pub(super) const PARTY: &str = "https://app.example.com";

pub(super) static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ins_1").unwrap());
/// Another key under the same `kid`.
pub(super) static ROTATED: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ins_1").unwrap());
/// Another key under another `kid`.
pub(super) static OTHER: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate("ins_2").unwrap());

pub(super) fn header() -> Value {
    json!({"alg": "RS256", "typ": "JWT", "kid": "ins_1", "cat": "cl_B7d4PD111AAA", "oiat": NOW - 3})
}

/// Claims as they are today.
pub(super) fn v2() -> Value {
    json!({
        "v": 2, "sub": "user_1", "sid": "sess_1", "iss": ISSUER, "azp": PARTY, "jti": "a1", "fva": [0, -1],
        "iat": NOW - 3, "nbf": NOW - 13, "exp": NOW + 57, "sts": "active", "pla": "u:free",
        "o": {"id": "org_1", "slg": "one", "rol": "admin", "per": "read", "fpm": "1"}, "fea": "o:members",
    })
}

/// Claims of the older version.
pub(super) fn v1() -> Value {
    json!({
        "sub": "user_1", "sid": "sess_1", "iss": ISSUER, "azp": PARTY, "iat": NOW - 3, "nbf": NOW - 13,
        "exp": NOW + 57, "org_id": "org_1", "org_slug": "one", "org_role": "org:admin", "org_permissions": [],
    })
}

pub(super) fn with(mut object: Value, name: &str, value: Value) -> Value {
    object[name] = value;
    object
}

pub(super) fn without(mut object: Value, name: &str) -> Value {
    assert!(object.as_object_mut().unwrap().remove(name).is_some(), "{name} was not there");
    object
}

/// A good token of today.
pub(super) fn good() -> String {
    token(&header(), &v2())
}

/// A token with exactly this header and these claims, its signature good.
pub(super) fn token(header: &Value, claims: &Value) -> String {
    KEY.sign(header, claims).unwrap()
}

/// A good token signed by this key, under its own `kid`.
pub(super) fn token_by(key: &SigningKey) -> String {
    key.sign(&with(header(), "kid", json!(key.kid())), &v2()).unwrap()
}

/// A token from texts, its signature good.
pub(super) fn token_of(header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    let signature = KEY.signature(message.as_bytes()).unwrap();
    format!("{message}.{signature}")
}

/// A token signed with another algorithm of the same key.
pub(super) fn token_with(encoding: &'static dyn RsaEncoding, alg: &str) -> String {
    let pair = KeyPair::from_pkcs8(&KEY.to_pkcs8().unwrap()).unwrap();
    let message = message(&with(header(), "alg", json!(alg)), &v2());
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", encode(signature))
}

pub(super) fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encode(header.to_string()), encode(claims.to_string()))
}

pub(super) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Knows `KEY` from its configuration, and checks everything that can be configured.
pub(super) fn pem_verifier() -> Verifier {
    verifier(KeySource::Pem(KEY.public_pem().unwrap()))
}

pub(super) fn verifier(source: KeySource) -> Verifier {
    let parties = vec!["https://admin.example.com".to_owned(), PARTY.to_owned()];
    Verifier::new(KeySet::new(source).unwrap(), Some(ISSUER.to_owned()), parties)
}

/// How an answer of the verifier reads in a test.
pub(super) fn outcome(result: &Result<Claims, TokenError>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(TokenError::Refused(reason)) => reason,
        Err(TokenError::KeysUnavailable) => "no keys",
    }
}

pub(super) async fn verify_at(verifier: &Verifier, token: &str, now_ms: i64) -> &'static str {
    outcome(&verifier.verify(token, now_ms).await)
}
