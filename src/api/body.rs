//! How members look as JSON: exactly these keys, in this order, straight from the borrowed rows to bytes.

use serde::Serialize;
use serde::ser::{Error as _, Serializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::params::List;
use crate::domain::time::iso8601;
use crate::domain::{Activity, Entry, Invitation, InvitationStatus, Member, OrganizationId, Role, UserId};

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

/// What an admin may have beside the keys that are always there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Extras {
    /// Where each row stands, and its invitation.
    pub(super) activity: bool,
    /// The membership.
    pub(super) membership: bool,
}

/// The array that admins may read, with invitations in it and more about each row.
pub(super) fn entries(entries: &[Entry], extras: Extras) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(2 + entries.len() * OBJECT_BYTES);
    let rows = entries.iter().map(|entry| AdminUser::of_entry(entry, extras));
    serde_json::Serializer::new(&mut json).collect_seq(rows)?;
    Ok(json)
}

/// Most objects fit in so much; a list that grows by doubling is copied over and over.
const OBJECT_BYTES: usize = 512;

/// A member.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct User<'a> {
    /// Clerk's id of the user.
    #[schema(value_type = String, example = "user_2h8op3Isl1QR7tKu5FGNfaLKEoU")]
    id: &'a UserId,
    #[schema(required, example = "Ada")]
    first_name: Option<&'a str>,
    #[schema(required, example = "Lovelace")]
    last_name: Option<&'a str>,
    /// The primary address.
    #[schema(required, example = "ada@example.com")]
    email: Option<&'a str>,
    /// `null` when the user has set no picture.
    #[schema(required, example = json!(null))]
    profile_picture_url: Option<&'a str>,
    /// When the account was made.
    #[schema(value_type = String, format = DateTime, example = "2026-01-05T09:00:00.000Z")]
    created_at: Time,
    /// When Clerk last changed the user.
    #[schema(value_type = String, format = DateTime, example = "2026-01-05T09:00:00.000Z")]
    updated_at: Time,
    /// The same as `id`.
    #[schema(value_type = String, example = "user_2h8op3Isl1QR7tKu5FGNfaLKEoU")]
    clerk_id: &'a UserId,
    /// The caller's organization.
    #[schema(value_type = String, example = "org_2h8oyAMGUT1ToZGAlzGOEOTBNdp")]
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

/// A member or, with `activityStatus`, an invitation.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::option_option, reason = "a key that is left out and one that is null are two answers")]
pub(super) struct AdminUser<'a> {
    /// Clerk's id of the user; `null` for invitations.
    #[schema(required, value_type = Option<String>, example = "user_2h8op3Isl1QR7tKu5FGNfaLKEoU")]
    id: Option<&'a UserId>,
    /// The primary address, or the one that was invited.
    #[schema(required, example = "ada@example.com")]
    email: Option<&'a str>,
    #[schema(required, example = "Ada")]
    first_name: Option<&'a str>,
    #[schema(required, example = "Lovelace")]
    last_name: Option<&'a str>,
    #[schema(required, example = "ada")]
    username: Option<&'a str>,
    /// The avatar, a generated one too.
    #[schema(required, example = "https://img.clerk.com/avatar")]
    profile_image_url: Option<&'a str>,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_sign_in_at: Option<Time>,
    /// The user's, or the invitation's. Numbers beyond 64 bits are rounded, as JavaScript does.
    #[schema(value_type = BTreeMap<String, serde_json::Value>, example = json!({"team": "core"}))]
    public_metadata: Raw<'a>,
    /// When the account was made; `null` for invitations.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    created_at: Option<Time>,
    /// In this organization, or as it is offered.
    #[schema(required, value_type = String, example = "org:admin")]
    role: Option<&'a Role>,
    // The outer `None` leaves a key out, the inner one is `null`.
    /// Only with the parameter `activityStatus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Activity)]
    activity_status: Option<Activity>,
    /// Only with the parameter `activityStatus`. `accepted` for a member whose invitation is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<InvitationStatus>)]
    invitation_status: Option<Option<InvitationStatus>>,
    /// Only with the parameter `activityStatus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    invitation_created_at: Option<Option<Time>>,
    /// Only with `include=membership`; `null` for invitations.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "orgmem_2h8oyAMGUT1ToZGAlzGOEOTBNdp")]
    membership_id: Option<Option<&'a str>>,
    /// Only with `include=membership`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    joined_at: Option<Option<Time>>,
    /// Only with `include=membership`: the public metadata of the membership.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BTreeMap<String, serde_json::Value>>)]
    membership_metadata: Option<Option<Raw<'a>>>,
}

impl<'a> AdminUser<'a> {
    fn of(member: &'a Member) -> Self {
        let user = &member.user;
        Self {
            id: Some(&user.id),
            email: user.email.as_deref(),
            first_name: user.first_name.as_deref(),
            last_name: user.last_name.as_deref(),
            username: user.username.as_deref(),
            profile_image_url: user.image_url.as_deref(),
            last_sign_in_at: member.last_sign_in_at_ms.map(Time),
            public_metadata: Raw(user.public_metadata.as_str()),
            created_at: Some(Time(user.created_at_ms)),
            role: Some(&member.role),
            ..Self::default()
        }
    }

    fn of_invitation(invitation: &'a Invitation) -> Self {
        Self {
            email: invitation.email.as_deref(),
            public_metadata: Raw(invitation.public_metadata.as_str()),
            role: invitation.role.as_ref(),
            ..Self::default()
        }
    }

    fn of_entry(entry: &'a Entry, extras: Extras) -> Self {
        let (mut row, member, invitation) = match entry {
            Entry::Member(member, accepted) => (Self::of(member), Some(member), accepted.as_ref()),
            Entry::Invitation(invitation) => (Self::of_invitation(invitation), None, Some(invitation)),
        };
        if extras.activity {
            row.activity_status = Some(entry.activity());
            row.invitation_status = Some(invitation.map(|invitation| invitation.status));
            row.invitation_created_at = Some(invitation.map(|invitation| Time(invitation.created_at_ms)));
        }
        if extras.membership {
            row.membership_id = Some(member.map(|member| member.membership_id.as_str()));
            row.joined_at = Some(member.map(|member| Time(member.joined_at_ms)));
            row.membership_metadata = Some(member.map(|member| Raw(member.membership_metadata.as_str())));
        }
        row
    }
}

/// A moment in Unix milliseconds, shown as ISO 8601.
struct Time(i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&iso8601(self.0))
    }
}

/// JSON text as it is stored, shown as it is once it is seen to be JSON.
struct Raw<'a>(&'a str);

impl Default for Raw<'_> {
    fn default() -> Self {
        Self("{}")
    }
}

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The parser's words would quote the text.
        let value: &RawValue =
            serde_json::from_str(self.0).map_err(|_| S::Error::custom("stored metadata is not JSON"))?;
        value.serialize(serializer)
    }
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
