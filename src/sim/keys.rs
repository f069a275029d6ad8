//! The instance's signing key, its key set, and tokens signed with it.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// An RSA key with its `kid`.
pub struct SigningKey {
    kid: String,
    pair: KeyPair,
}

// A private key is never printed.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl SigningKey {
    /// Makes a new 2048 bit key; takes about a tenth of a second.
    pub fn generate(kid: impl Into<String>) -> anyhow::Result<Self> {
        Ok(Self { kid: kid.into(), pair: KeyPair::generate(KeySize::Rsa2048)? })
    }

    /// Takes a key that [`Self::to_pkcs8`] wrote.
    pub fn from_pkcs8(kid: impl Into<String>, der: &[u8]) -> anyhow::Result<Self> {
        Ok(Self { kid: kid.into(), pair: KeyPair::from_pkcs8(der)? })
    }

    /// The private key, to be kept for the next run.
    pub fn to_pkcs8(&self) -> anyhow::Result<Vec<u8>> {
        let der: Pkcs8V1Der<'_> = self.pair.as_der()?;
        Ok(der.as_ref().to_vec())
    }

    /// The key's id; with Clerk, the instance's.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The public key as one entry of a key set.
    pub fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({
            "use": "sig", "kty": "RSA", "kid": self.kid, "alg": "RS256",
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// The public key as the dashboard shows it (`CLERK_JWT_KEY`).
    pub fn public_pem(&self) -> anyhow::Result<String> {
        let der: PublicKeyX509Der<'_> = self.pair.public_key().as_der()?;
        let text = STANDARD.encode(der.as_ref());
        let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line)).collect();
        Ok(format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n")))
    }

    /// Signs a token with RS256 over exactly this header and these claims, right or wrong.
    pub fn sign(&self, header: &Value, claims: &Value) -> anyhow::Result<String> {
        let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", encode(header), encode(claims));
        Ok(format!("{message}.{}", self.signature(message.as_bytes())?))
    }

    /// The RS256 signature of a message, base64url.
    pub fn signature(&self, message: &[u8]) -> anyhow::Result<String> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
        Ok(URL_SAFE_NO_PAD.encode(signature))
    }
}
