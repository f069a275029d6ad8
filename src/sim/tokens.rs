//! Session tokens with Clerk's claims, in both versions.

use serde_json::{Value, json};

use super::instance::{Instance, NoSuchObject};
use super::keys::SigningKey;
use super::shapes::text;

/// The token class that Clerk stamps on session tokens.
pub const SESSION_TOKEN_CATEGORY: &str = "cl_B7d4PD111AAA";

/// Which form of claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// `org_id`, `org_role`: deprecated, still issued.
    V1,
    /// `v`, `o`: current.
    V2,
}

/// How a token is made; the default is what a browser gets.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The form of its claims.
    pub version: Version,
    /// `iat`
    pub issued_at_ms: i64,
    /// From `iat` to `exp`.
    pub life_s: i64,
    /// `azp`
    pub authorized_party: Option<String>,
}

impl TokenOptions {
    /// A token of version 2 that lives for 60 seconds.
    pub fn at(issued_at_ms: i64) -> Self {
        Self { version: Version::V2, issued_at_ms, life_s: 60, authorized_party: None }
    }
}

impl Instance {
    /// What `iss` says.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key that tokens are signed with.
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs with another key from now on; with the same `kid` it is how Clerk rotates. Returns the old key.
    pub fn rotate_key(&mut self, key: SigningKey) -> SigningKey {
        std::mem::replace(&mut self.key, key)
    }

    /// The key set, as it is published now.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.key.jwk()] })
    }

    /// The header of a session token.
    pub fn token_header(&self) -> Value {
        json!({"alg": "RS256", "cat": SESSION_TOKEN_CATEGORY, "kid": self.key.kid(), "typ": "JWT"})
    }

    /// The claims of a user with an active organization (as its member) or none.
    pub fn claims(
        &mut self,
        user_id: &str,
        organization_id: Option<&str>,
        options: &TokenOptions,
    ) -> Result<Value, NoSuchObject> {
        let organization = organization_id
            .map(|id| {
                let membership = self.membership(&self.membership_id(user_id, id)?)?;
                let slug = self.organization(id).ok().and_then(|one| one.get("slug").cloned());
                Ok((id, slug.unwrap_or(Value::Null), text(&membership, "role").to_owned()))
            })
            .transpose()?;
        let issued_at_s = options.issued_at_ms.div_euclid(1000);
        let mut claims = json!({
            "sub": user_id, "sid": self.random.id("sess", options.issued_at_ms), "iss": self.issuer,
            "iat": issued_at_s, "nbf": issued_at_s - 10, "exp": issued_at_s + options.life_s, "fva": [0, -1],
        });
        let mut set = |name: &str, value: Value| {
            if let Some(claims) = claims.as_object_mut() {
                claims.insert(name.to_owned(), value);
            }
        };
        if let Some(party) = &options.authorized_party {
            set("azp", party.as_str().into());
        }
        match options.version {
            Version::V1 => {
                if let Some((id, slug, role)) = organization {
                    set("org_id", id.into());
                    set("org_slug", slug);
                    set("org_role", role.into());
                    set("org_permissions", json!([]));
                }
            }
            Version::V2 => {
                set("v", 2.into());
                set("jti", self.random.id("jti", options.issued_at_ms).trim_start_matches("jti_").into());
                set("sts", "active".into());
                set("pla", "u:free_user,o:free_org".into());
                set("fea", "".into());
                if let Some((id, slug, role)) = organization {
                    set("o", json!({"id": id, "slg": slug, "rol": role.trim_start_matches("org:")}));
                }
            }
        }
        Ok(claims)
    }

    /// A signed session token.
    pub fn session_token(
        &mut self,
        user_id: &str,
        organization_id: Option<&str>,
        options: &TokenOptions,
    ) -> anyhow::Result<String> {
        let claims = self.claims(user_id, organization_id, options)?;
        self.key.sign(&self.token_header(), &claims)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;
    use crate::sim::NewUser;
    use crate::sim::shapes::Object;

    const NOW_MS: i64 = 1_763_000_000_000;

    fn instance() -> (Instance, String, String) {
        let mut clerk = Instance::new(SigningKey::generate("ins_test").unwrap(), 1, NOW_MS);
        let ada = clerk.create_user(NewUser::named("Ada", "Okafor", "ada@example.com"));
        let org = clerk.create_organization("Harbour", None);
        clerk.join(ada.id(), org.id(), "org:admin", &Object::new()).unwrap();
        (clerk, ada.id().to_owned(), org.id().to_owned())
    }

    #[test]
    fn version_2_names_the_role_without_its_prefix() {
        let (mut clerk, ada, org) = instance();
        let claims = clerk.claims(&ada, Some(&org), &TokenOptions::at(NOW_MS)).unwrap();
        assert_eq!(claims["o"], json!({"id": org, "slg": "harbour", "rol": "admin"}));
        assert_eq!(claims["v"], 2);
        assert_eq!(claims["iat"], NOW_MS / 1000);
        assert_eq!(claims["nbf"], NOW_MS / 1000 - 10);
        assert_eq!(claims["exp"], NOW_MS / 1000 + 60);
        let none = clerk.claims(&ada, None, &TokenOptions::at(NOW_MS)).unwrap();
        assert!(none.get("o").is_none());
    }

    #[test]
    fn version_1_names_it_with_the_prefix() {
        let (mut clerk, ada, org) = instance();
        let options = TokenOptions { version: Version::V1, ..TokenOptions::at(NOW_MS) };
        let claims = clerk.claims(&ada, Some(&org), &options).unwrap();
        assert_eq!((&claims["org_id"], &claims["org_role"]), (&json!(org), &json!("org:admin")));
        assert!(claims.get("v").is_none() && claims.get("o").is_none());
    }

    #[test]
    fn only_a_member_gets_a_token_for_an_organization() {
        let (mut clerk, _, org) = instance();
        let bo = clerk.create_user(NewUser::default());
        assert!(clerk.claims(bo.id(), Some(&org), &TokenOptions::at(NOW_MS)).is_err());
    }

    #[test]
    fn a_token_has_the_class_and_the_instance_in_its_header() {
        let (mut clerk, ada, org) = instance();
        let token = clerk.session_token(&ada, Some(&org), &TokenOptions::at(NOW_MS)).unwrap();
        let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(
            header,
            json!({"alg": "RS256", "cat": "cl_B7d4PD111AAA", "kid": "ins_test", "typ": "JWT"})
        );
        assert_eq!(clerk.jwks()["keys"][0]["kid"], "ins_test");
    }
}
