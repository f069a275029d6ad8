//! One RSA public key, and what it says of a signature.
//!
//! The sets that we read may hold other keys too (EC, Ed25519, symmetric ones): whatever cannot check an RSA
//! signature is left out here, so that nothing after this has to ask.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::Value;

/// The modulus sizes that the cryptography accepts.
const MODULUS_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Larger exponents do not occur and only cost time.
const MAX_EXPONENT_BYTES: usize = 4;

/// A token's signature, and what it is said to be made with.
pub(crate) struct Signed<'a> {
    pub(crate) alg: Algorithm,
    pub(crate) kid: Option<&'a str>,
    /// The header and the claims as they were sent, with the dot between them.
    pub(crate) message: &'a str,
    /// base64url
    pub(crate) signature: &'a str,
}

/// What a key, or a set of keys, says of a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Good,
    BadSignature,
    WrongAlgorithm,
    UnknownKey,
}

impl Verdict {
    /// The words for the log.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Good => "the signature is good",
            Self::BadSignature => "the signature does not match",
            Self::WrongAlgorithm => "`alg` is not the key's",
            Self::UnknownKey => "`kid` names no known key",
        }
    }
}

/// A key that can check RSA signatures.
#[derive(Debug)]
pub(super) struct Key {
    /// `None` for the one key from the configuration, which has no need of a name.
    kid: Option<String>,
    /// `None` when the key does not say: then any of the three will do.
    alg: Option<Algorithm>,
    public: DecodingKey,
}

impl Key {
    /// Takes an armoured public key. It is one for RS256, as Clerk's are.
    pub(super) fn from_pem(pem: &str) -> anyhow::Result<Self> {
        let parsed = DecodingKey::from_rsa_pem(pem.as_bytes())?;
        // A private key is refused on this way too: it does not parse as a public one.
        let jwk = Jwk::from_decoding_key(&parsed, None)?;
        let AlgorithmParameters::RSA(rsa) = jwk.algorithm else { anyhow::bail!("not an RSA key") };
        let public = decoding_key(&rsa.n, &rsa.e).ok_or_else(|| anyhow::anyhow!("not a usable RSA key"))?;
        Ok(Self { kid: None, alg: Some(Algorithm::RS256), public })
    }

    /// Takes an entry of a key set; `None` when it is not a key for RSA signatures that a token can name.
    pub(super) fn from_jwk(entry: &Value) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        if text("kty")? != "RSA" || entry.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        let alg = match entry.get("alg") {
            None => None,
            Some(alg) => Some(rsa_algorithm(alg.as_str()?)?),
        };
        Some(Self { kid: Some(text("kid")?.to_owned()), alg, public: decoding_key(text("n")?, text("e")?)? })
    }

    /// Its `kid`.
    pub(super) fn id(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this is the key that a token names.
    pub(super) fn is_named(&self, kid: &str) -> bool {
        self.kid.as_deref() == Some(kid)
    }

    /// Checks a signature with this key, whatever key the token names.
    pub(super) fn check(&self, signed: &Signed<'_>) -> Verdict {
        if self.alg.is_some_and(|alg| alg != signed.alg) {
            return Verdict::WrongAlgorithm;
        }
        match crypto::verify(signed.signature, signed.message.as_bytes(), &self.public, signed.alg) {
            Ok(true) => Verdict::Good,
            Ok(false) | Err(_) => Verdict::BadSignature,
        }
    }
}

/// The algorithm of that name, if it is one that session tokens may be signed with.
pub(crate) fn rsa_algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        _ => None,
    }
}

fn decoding_key(n: &str, e: &str) -> Option<DecodingKey> {
    let (n, e) = (number(n)?, number(e)?);
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let exponent_fits = odd(&e) && e != [1] && e.len() <= MAX_EXPONENT_BYTES;
    (MODULUS_BITS.contains(&bits) && odd(&n) && exponent_fits)
        .then(|| DecodingKey::from_rsa_raw_components(&n, &e))
}

/// A base64url number without the zeros before it, which the cryptography does not accept.
fn number(text: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn number_of(bits: usize) -> String {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] >>= bytes.len() * 8 - bits;
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn entry(changes: &Value) -> Value {
        let mut entry = json!({"kty": "RSA", "kid": "ins_1", "use": "sig", "alg": "RS256", "e": "AQAB"});
        entry["n"] = json!(number_of(2048));
        for (name, value) in changes.as_object().unwrap() {
            if name == "without" {
                entry.as_object_mut().unwrap().remove(value.as_str().unwrap());
            } else {
                entry[name] = value.clone();
            }
        }
        entry
    }

    #[test]
    fn rsa_signing_keys_are_taken() {
        for changes in [
            json!({}),
            json!({"without": "use"}),
            json!({"without": "alg"}),
            json!({"alg": "RS512"}),
            json!({"e": "Aw"}),
            json!({"e": "AAEAAQ"}),
            json!({"n": number_of(8192)}),
            json!({"x5c": 1, "something": "new"}),
        ] {
            assert!(Key::from_jwk(&entry(&changes)).is_some(), "{changes}");
        }
    }

    #[test]
    fn other_entries_are_left_out() {
        for changes in [
            json!({"kty": "EC"}),
            json!({"kty": "oct", "k": "c2VjcmV0"}),
            json!({"without": "kty"}),
            json!({"use": "enc"}),
            json!({"use": null}),
            json!({"alg": "PS256"}),
            json!({"alg": "HS256"}),
            json!({"alg": 256}),
            json!({"without": "kid"}),
            json!({"kid": 7}),
            json!({"without": "n"}),
            json!({"n": "not base64!"}),
            json!({"n": ""}),
            json!({"n": number_of(2047)}),
            json!({"n": number_of(8193)}),
            json!({"without": "e"}),
            json!({"e": ""}),
            json!({"e": "AQ"}),
            json!({"e": "AQAA"}),
            json!({"e": "AQAAAAE"}),
        ] {
            assert!(Key::from_jwk(&entry(&changes)).is_none(), "{changes}");
        }
        for garbage in [json!(null), json!("RSA"), json!(["RSA"]), json!({})] {
            assert!(Key::from_jwk(&garbage).is_none(), "{garbage}");
        }
    }
}
