//! The claims: who, until when, for whom, and in which organization.

use super::json::{Member, is_null, members, seconds_as_ms, string};
use super::{ActiveOrganization, Claims, TokenError};
use crate::domain::{OrganizationId, Role, UserId};

/// How far Clerk's clock and ours may be apart; the SDK's value.
const LEEWAY_MS: i64 = 5_000;

/// What is configured about the tokens that we accept.
#[derive(Debug)]
pub(super) struct Expected {
    pub(super) issuer: Option<String>,
    pub(super) authorized_parties: Vec<String>,
}

/// The claims as they were sent, none of them believed yet.
pub(super) struct Unchecked<'a> {
    sub: Member<'a>,
    sid: Member<'a>,
    iss: Member<'a>,
    azp: Member<'a>,
    exp: Member<'a>,
    nbf: Member<'a>,
    iat: Member<'a>,
    sts: Member<'a>,
    v: Member<'a>,
    org_id: Member<'a>,
    org_role: Member<'a>,
    o: Member<'a>,
}

/// When a token is good. This is asked whenever it is used, also of one that was checked before.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_field_names, reason = "the unit is part of the name")]
pub(super) struct Times {
    exp_ms: i64,
    nbf_ms: Option<i64>,
    iat_ms: Option<i64>,
}

impl Times {
    pub(super) fn check(&self, now_ms: i64) -> Result<(), TokenError> {
        if self.exp_ms <= now_ms.saturating_sub(LEEWAY_MS) {
            return Err(TokenError::Refused("expired"));
        }
        let latest_ms = now_ms.saturating_add(LEEWAY_MS);
        if self.nbf_ms.is_some_and(|nbf_ms| nbf_ms > latest_ms) {
            return Err(TokenError::Refused("not active yet"));
        }
        if self.iat_ms.is_some_and(|iat_ms| iat_ms > latest_ms) {
            return Err(TokenError::Refused("issued in the future"));
        }
        Ok(())
    }
}

impl<'a> Unchecked<'a> {
    /// Reads the claims before the signature is known to be good. What only their class tells is refused here.
    pub(super) fn read(text: &'a str) -> Result<Self, TokenError> {
        let names = ["sub", "sid", "iss", "azp", "exp", "nbf", "iat", "sts", "v", "org_id", "org_role", "o"];
        let Some([sub, sid, iss, azp, exp, nbf, iat, sts, v, org_id, org_role, o]) = members(text, names)
        else {
            return Err(TokenError::Refused("the claims are not an object with single members"));
        };
        if sub.and_then(string).is_some_and(|sub| sub.starts_with("mch_")) {
            return Err(TokenError::Refused("a machine token"));
        }
        Ok(Self { sub, sid, iss, azp, exp, nbf, iat, sts, v, org_id, org_role, o })
    }

    /// Checks the claims of a token whose signature is good.
    pub(super) fn check(&self, expected: &Expected, now_ms: i64) -> Result<(Claims, Times), TokenError> {
        let Some(user_id) = self.sub.and_then(string).and_then(|sub| UserId::parse(&sub).ok()) else {
            return Err(TokenError::Refused("`sub` is not a user id"));
        };
        if self.sid.and_then(string).is_none_or(|sid| sid.is_empty()) {
            return Err(TokenError::Refused("`sid` is missing"));
        }
        self.check_parties(expected)?;
        let times = self.times()?;
        times.check(now_ms)?;
        self.check_status()?;
        let claims = Claims {
            user_id,
            organization: self.organization()?,
            issued_at_ms: times.iat_ms.unwrap_or(i64::MIN),
            expires_at_ms: times.exp_ms,
        };
        Ok((claims, times))
    }

    fn check_parties(&self, expected: &Expected) -> Result<(), TokenError> {
        if !expected.authorized_parties.is_empty() {
            let azp = self.azp.and_then(string);
            // A missing one is refused too: since July 2026 the SDK does so.
            if azp.is_none_or(|azp| !expected.authorized_parties.contains(&azp)) {
                return Err(TokenError::Refused(
                    "`azp` is not an authorized party: add the origin to CLERK_AUTHORIZED_PARTIES",
                ));
            }
        }
        if expected.issuer.is_some() && self.iss.and_then(string) != expected.issuer {
            return Err(TokenError::Refused("`iss` is not the configured issuer"));
        }
        Ok(())
    }

    fn times(&self) -> Result<Times, TokenError> {
        let Some(exp_ms) = self.exp.and_then(seconds_as_ms) else {
            return Err(TokenError::Refused("`exp` is not a number"));
        };
        let nbf_ms = optional_time(self.nbf, "`nbf` is not a number")?;
        let iat_ms = optional_time(self.iat, "`iat` is not a number")?;
        Ok(Times { exp_ms, nbf_ms, iat_ms })
    }

    fn check_status(&self) -> Result<(), TokenError> {
        match optional_string(self.sts, "`sts` is not a string")?.as_deref() {
            // Signed in, but with tasks left to do, such as choosing an organization.
            Some("pending") => Err(TokenError::Refused("the session is pending")),
            _ => Ok(()),
        }
    }

    /// The active organization. Each version has its own place for it; what stands in the other's place may be
    /// anybody's custom claim.
    fn organization(&self) -> Result<Option<ActiveOrganization>, TokenError> {
        let (id, role) = match self.v.map(serde_json::value::RawValue::get) {
            None | Some("1") => (self.org_id, self.org_role),
            Some("2") => match self.o.filter(|o| !is_null(o)) {
                None => (None, None),
                Some(o) => {
                    let Some([id, rol]) = members(o.get(), ["id", "rol"]) else {
                        return Err(TokenError::Refused("`o` is not an object with single members"));
                    };
                    (id, rol)
                }
            },
            Some(_) => return Err(TokenError::Refused("`v` is not a known version")),
        };
        let id = optional_string(id, "the organization's id is not a string")?;
        let role = optional_string(role, "the organization role is not a string")?;
        // Clerk's own libraries take an empty one for none.
        let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(None) };
        match OrganizationId::parse(&id) {
            Ok(id) => Ok(Some(ActiveOrganization { id, role: role.as_deref().map(Role::new) })),
            Err(_) => Err(TokenError::Refused("the organization's id is not an id")),
        }
    }
}

/// A time that need not be there; a `null` is not one.
fn optional_time(value: Member<'_>, otherwise: &'static str) -> Result<Option<i64>, TokenError> {
    value.map(|value| seconds_as_ms(value).ok_or(TokenError::Refused(otherwise))).transpose()
}

/// A string that need not be there, or may be `null`.
fn optional_string(value: Member<'_>, otherwise: &'static str) -> Result<Option<String>, TokenError> {
    let value = value.filter(|value| !is_null(value));
    value.map(|value| string(value).ok_or(TokenError::Refused(otherwise))).transpose()
}
