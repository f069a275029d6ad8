//! How members look as JSON: exactly these keys, in this order, straight from the borrowed rows to bytes.

use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::value::RawValue;

use super::params::List;
use crate::domain::time::iso8601;
use crate::domain::{Member, OrganizationId, Role, UserId};

/// One list, written member by member: nothing but its bytes is held.
pub(super) struct Array<'a> {
    list: List,
    organization: &'a OrganizationId,
    json: Vec<u8>,
    error: Option<serde_json::Error>,
}

impl<'a> Array<'a> {
    pub(super) fn new(list: List, organization: &'a OrganizationId) -> Self {
        Self { list, organization, json: b"[".to_vec(), error: None }
    }

    /// Writes the next member.
    pub(super) fn push(&mut self, member: &Member) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        let written = match self.list {
            List::Users => serde_json::to_writer(&mut self.json, &User::of(member, self.organization)),
            List::Admin => serde_json::to_writer(&mut self.json, &AdminUser::of(member)),
        };
        if let Err(error) = written {
            self.error.get_or_insert(error);
        }
    }

    /// The whole list, unless a member of it could not be written.
    pub(super) fn finish(mut self) -> serde_json::Result<Vec<u8>> {
        self.json.push(b']');
        self.error.map_or(Ok(self.json), Err)
    }
}

/// One object of the list that any member may read.
pub(super) fn user(member: &Member, organization: &OrganizationId) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&User::of(member, organization))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct User<'a> {
    id: &'a UserId,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    email: Option<&'a str>,
    profile_picture_url: Option<&'a str>,
    created_at: Time,
    updated_at: Time,
    clerk_id: &'a UserId,
    clerk_org_id: &'a OrganizationId,
}

impl<'a> User<'a> {
    fn of(member: &'a Member, organization: &'a OrganizationId) -> Self {
        let user = &member.user;
        Self {
            id: &user.id,
            first_name: user.first_name.as_deref(),
            last_name: user.last_name.as_deref(),
            email: user.email.as_deref(),
            profile_picture_url: user.image_url.as_deref().filter(|_| user.has_image),
            created_at: Time(user.created_at_ms),
            updated_at: Time(member.user_updated_at_ms),
            clerk_id: &user.id,
            clerk_org_id: organization,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdminUser<'a> {
    id: &'a UserId,
    email: Option<&'a str>,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    username: Option<&'a str>,
    profile_image_url: Option<&'a str>,
    last_sign_in_at: Option<Time>,
    #[serde(serialize_with = "raw")]
    public_metadata: &'a str,
    created_at: Time,
    role: &'a Role,
}

impl<'a> AdminUser<'a> {
    fn of(member: &'a Member) -> Self {
        let user = &member.user;
        Self {
            id: &user.id,
            email: user.email.as_deref(),
            first_name: user.first_name.as_deref(),
            last_name: user.last_name.as_deref(),
            username: user.username.as_deref(),
            profile_image_url: user.image_url.as_deref(),
            last_sign_in_at: member.last_sign_in_at_ms.map(Time),
            public_metadata: user.public_metadata.as_str(),
            created_at: Time(user.created_at_ms),
            role: &member.role,
        }
    }
}

/// A moment in Unix milliseconds, shown as ISO 8601.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&iso8601(self.0))
    }
}

/// Emits JSON text as it is stored, once it is seen to be JSON.
fn raw<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    // The parser's words would quote the text.
    let value: &RawValue =
        serde_json::from_str(text).map_err(|_| S::Error::custom("stored metadata is not JSON"))?;
    value.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::Metadata;
    use crate::domain::{MembershipId, User as DomainUser};

    fn ada() -> Member {
        Member {
            user: DomainUser {
                id: UserId::parse("user_ada").unwrap(),
                first_name: Some("Ada \"A\"".to_owned()),
                last_name: None,
                username: Some("ada".to_owned()),
                email: Some("Ada@example.com".to_owned()),
                image_url: Some("https://img.example/ada".to_owned()),
                has_image: false,
                banned: true,
                public_metadata: Metadata::from_stored(r#"{"a":1.50,"b":[null]}"#.to_owned()),
                created_at_ms: 1_654_012_591_514,
            },
            user_updated_at_ms: 1_654_012_591_835,
            last_sign_in_at_ms: None,
            membership_id: MembershipId::parse("orgmem_1").unwrap(),
            role: Role::new("member"),
            joined_at_ms: 0,
            membership_metadata: Metadata::default(),
            membership_updated_at_ms: 0,
        }
    }

    fn list(list: List, members: &[Member]) -> serde_json::Result<Vec<u8>> {
        let organization = OrganizationId::parse("org_1").unwrap();
        let mut array = Array::new(list, &organization);
        for member in members {
            array.push(member);
        }
        array.finish()
    }

    fn users(members: &[Member], _: &OrganizationId) -> serde_json::Result<Vec<u8>> {
        list(List::Users, members)
    }

    fn admin_users(members: &[Member]) -> serde_json::Result<Vec<u8>> {
        list(List::Admin, members)
    }

    fn text(json: serde_json::Result<Vec<u8>>) -> String {
        String::from_utf8(json.unwrap()).unwrap()
    }

    #[test]
    fn what_any_member_sees() {
        let organization = OrganizationId::parse("org_1").unwrap();
        let one = text(user(&ada(), &organization));
        insta::assert_snapshot!(one, @r#"{"id":"user_ada","firstName":"Ada \"A\"","lastName":null,"email":"Ada@example.com","profilePictureUrl":null,"createdAt":"2022-05-31T15:56:31.514Z","updatedAt":"2022-05-31T15:56:31.835Z","clerkId":"user_ada","clerkOrgId":"org_1"}"#);
        assert_eq!(text(users(&[ada(), ada()], &organization)), format!("[{one},{one}]"));
        assert_eq!(text(users(&[], &organization)), "[]");

        let mut pictured = ada();
        pictured.user.has_image = true;
        assert!(
            text(user(&pictured, &organization)).contains(r#""profilePictureUrl":"https://img.example/ada""#)
        );
    }

    #[test]
    fn what_an_admin_sees() {
        insta::assert_snapshot!(text(admin_users(&[ada()])), @r#"[{"id":"user_ada","email":"Ada@example.com","firstName":"Ada \"A\"","lastName":null,"username":"ada","profileImageUrl":"https://img.example/ada","lastSignInAt":null,"publicMetadata":{"a":1.50,"b":[null]},"createdAt":"2022-05-31T15:56:31.514Z","role":"org:member"}]"#);
        let mut seen = ada();
        seen.last_sign_in_at_ms = Some(0);
        assert!(text(admin_users(&[seen])).contains(r#""lastSignInAt":"1970-01-01T00:00:00.000Z""#));
    }

    #[test]
    fn metadata_that_is_no_json_is_an_error_that_quotes_nothing() {
        let mut broken = ada();
        broken.user.public_metadata = Metadata::from_stored("{secret".to_owned());
        let error = admin_users(&[broken]).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
