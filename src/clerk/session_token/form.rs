//! A token's form and class: everything that can be told without a key.
//!
//! One key signs several kinds of tokens. Only the session token speaks for a signed-in person; the others
//! (from JWT templates, for machines, of OAuth clients) verify just as well and must be refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;

use super::TokenError;
use super::json::{members, string};
use crate::clerk::jwks::rsa_algorithm;

/// Longer ones do not fit into a cookie or a header anyway.
const MAX_BYTES: usize = 16 * 1024;
/// API keys, OAuth tokens and machine tokens that only Clerk itself can check.
const OPAQUE_PREFIXES: [&str; 3] = ["ak_", "oat_", "mt_"];

/// The token taken apart, and its first two parts decoded.
pub(super) struct Parts<'a> {
    pub(super) header: String,
    pub(super) claims: String,
    pub(super) message: &'a str,
    pub(super) signature: &'a str,
}

/// What the header says that is needed later.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) alg: Algorithm,
    /// `None` also when it is no string: a configured key does not need it, a key set refuses it.
    pub(super) kid: Option<String>,
}

impl<'a> Parts<'a> {
    pub(super) fn split(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_BYTES {
            return Err(TokenError::Refused("longer than 16 KiB"));
        }
        if OPAQUE_PREFIXES.iter().any(|prefix| token.starts_with(prefix)) {
            return Err(TokenError::Refused("an opaque token"));
        }
        let three = token.rsplit_once('.').and_then(|(message, signature)| {
            let (header, claims) = message.split_once('.')?;
            (!claims.contains('.')).then_some((header, claims, message, signature))
        });
        let Some((header, claims, message, signature)) = three else {
            return Err(TokenError::Refused("not three parts"));
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let text = |part: &str| String::from_utf8(decode(part)?).ok();
        match (text(header), text(claims), decode(signature)) {
            (Some(header), Some(claims), Some(_)) => Ok(Self { header, claims, message, signature }),
            _ => Err(TokenError::Refused("not base64url parts")),
        }
    }
}

impl Header {
    pub(super) fn read(text: &str) -> Result<Self, TokenError> {
        let Some([typ, cat, alg, crit, kid]) = members(text, ["typ", "cat", "alg", "crit", "kid"]) else {
            return Err(TokenError::Refused("the header is not an object with single members"));
        };
        // The class first, as it is what the log should name.
        match typ.map(string).as_ref().map(Option::as_deref) {
            None | Some(Some("JWT")) => {}
            Some(Some("at+jwt" | "application/at+jwt")) => {
                return Err(TokenError::Refused("an OAuth access token"));
            }
            Some(_) => return Err(TokenError::Refused("`typ` is not JWT")),
        }
        match cat.map(string).as_ref().map(Option::as_deref) {
            None | Some(Some("cl_B7d4PD111AAA" | "cl_I7d4PD111III")) => {}
            Some(Some("cl_B7d4PD222AAA")) => return Err(TokenError::Refused("a JWT-template token")),
            Some(Some("cl_B7d4PD333AAA")) => return Err(TokenError::Refused("a machine token")),
            Some(_) => return Err(TokenError::Refused("`cat` is not a session token's")),
        }
        let Some(alg) = alg.and_then(string).as_deref().and_then(rsa_algorithm) else {
            return Err(TokenError::Refused("`alg` is not RS256, RS384 or RS512"));
        };
        if crit.is_some() {
            return Err(TokenError::Refused("`crit` is not understood"));
        }
        Ok(Self { alg, kid: kid.and_then(string) })
    }
}
