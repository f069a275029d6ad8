//! The four entities, each with just the fields that Roster answers with.
//!
//! What is not here is not kept: private and unsafe metadata, phone numbers and invitation URLs have no
//! field to live in.

use std::fmt;

use serde::Serialize;
use utoipa::ToSchema;

use super::id::{InvitationId, MembershipId, OrganizationId, UserId};

/// A JSON object as compact text with sorted keys, so that equal metadata is equal text.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Metadata(String);

impl Metadata {
    /// Takes a JSON object and writes it in the one form that is stored.
    pub fn new(object: &serde_json::Map<String, serde_json::Value>) -> Self {
        // Writing a map with text keys cannot fail.
        Self(serde_json::to_string(object).unwrap_or_else(|_| "{}".to_owned()))
    }

    /// The text as it came out of the store.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The JSON text of the object.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Metadata {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

// Metadata is personal data; a log line that prints a user must not show it.
impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata({} bytes)", self.0.len())
    }
}

/// A role in an organization, always in the prefixed form: `org:admin`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Role(String);

impl Role {
    /// The role of a membership, and of an invitation, that names none: Clerk's default.
    pub const UNNAMED: &str = "org:member";

    /// Takes a role with or without the prefix `org:`.
    pub fn new(text: &str) -> Self {
        if text.starts_with("org:") { Self(text.to_owned()) } else { Self(format!("org:{text}")) }
    }

    /// The role with its prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A person.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// `user_…`
    pub id: UserId,
    /// First name.
    pub first_name: Option<String>,
    /// Last name.
    pub last_name: Option<String>,
    /// Username.
    pub username: Option<String>,
    /// The primary address; `None` when the user has none.
    pub email: Option<String>,
    /// The avatar, a generated one when `has_image` is false.
    pub image_url: Option<String>,
    /// Whether the user has set a picture.
    pub has_image: bool,
    /// A banned user cannot sign in, but stays a member.
    pub banned: bool,
    /// Public metadata.
    pub public_metadata: Metadata,
    /// When the account was made.
    pub created_at_ms: i64,
}

// Names and addresses stay out of logs, whoever prints a user.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("id", &self.id).finish_non_exhaustive()
    }
}

/// An organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Organization {
    /// `org_…`
    pub id: OrganizationId,
    /// Its name.
    pub name: Option<String>,
    /// When it was made.
    pub created_at_ms: i64,
}

/// A user's place in an organization. A rejoin is a new membership with a new id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Membership {
    /// `orgmem_…`
    pub id: MembershipId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The member.
    pub user_id: UserId,
    /// The member's role.
    pub role: Role,
    /// The membership's public metadata.
    pub public_metadata: Metadata,
    /// When the user joined.
    pub created_at_ms: i64,
}

/// Where an invitation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum InvitationStatus {
    /// Sent, not answered. Past `expires_at` it counts as expired.
    Pending,
    /// The invited person is a member.
    Accepted,
    /// Taken back.
    Revoked,
    /// Too late.
    Expired,
}

impl InvitationStatus {
    /// Clerk's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    /// Reads Clerk's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Accepted, Self::Revoked, Self::Expired].into_iter().find(|s| s.as_str() == text)
    }
}

/// An invitation to an organization.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Invitation {
    /// `orginv_…`
    pub id: InvitationId,
    /// The organization; Clerk's schema lets it be absent.
    pub organization_id: Option<OrganizationId>,
    /// Who accepted it, once that is known. No part of the state's digest: events say it, the Backend API does
    /// not, and both may speak of the same state.
    #[serde(skip)]
    pub user_id: Option<UserId>,
    /// The invited address.
    pub email: Option<String>,
    /// The role that is offered.
    pub role: Option<Role>,
    /// Where it stands.
    pub status: InvitationStatus,
    /// The invitation's public metadata.
    pub public_metadata: Metadata,
    /// When it was sent.
    pub created_at_ms: i64,
    /// When it lapses.
    pub expires_at_ms: Option<i64>,
}

impl Invitation {
    /// What is kept of it. Of one that was accepted nothing that it says of the person: no answer shows that, and the
    /// Backend API does not say whose it was, so that it could not be forgotten with its user.
    #[must_use]
    pub fn as_kept(self) -> Self {
        match self.status {
            InvitationStatus::Accepted => Self {
                email: None,
                role: None,
                public_metadata: Metadata::default(),
                expires_at_ms: None,
                ..self
            },
            InvitationStatus::Pending | InvitationStatus::Revoked | InvitationStatus::Expired => self,
        }
    }

    /// Where it stands at this moment. Clerk sends no event when an invitation lapses.
    pub fn status_at(&self, now_ms: i64) -> InvitationStatus {
        match self.status {
            InvitationStatus::Pending if self.expires_at_ms.is_some_and(|at_ms| at_ms <= now_ms) => {
                InvitationStatus::Expired
            }
            status => status,
        }
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("id", &self.id)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_has_its_prefix() {
        assert_eq!(Role::new("admin"), Role::new("org:admin"));
        assert_eq!(Role::new("basic_member").as_str(), "org:basic_member");
    }

    #[test]
    fn an_open_invitation_lapses_at_its_moment() {
        let mut invitation = Invitation {
            id: InvitationId::parse("orginv_1").unwrap(),
            organization_id: None,
            user_id: None,
            email: None,
            role: None,
            status: InvitationStatus::Pending,
            public_metadata: Metadata::default(),
            created_at_ms: 0,
            expires_at_ms: Some(5),
        };
        assert_eq!(invitation.status_at(4), InvitationStatus::Pending);
        assert_eq!(invitation.status_at(5), InvitationStatus::Expired);
        // An answer stands, however late it is.
        for status in [InvitationStatus::Accepted, InvitationStatus::Revoked, InvitationStatus::Expired] {
            invitation.status = status;
            assert_eq!(invitation.status_at(9), status);
        }
        invitation.status = InvitationStatus::Pending;
        invitation.expires_at_ms = None;
        assert_eq!(invitation.status_at(i64::MAX), InvitationStatus::Pending);
    }

    #[test]
    fn equal_metadata_is_equal_text() {
        let one = serde_json::from_str(r#"{ "b": 1, "a": [1.5, null] }"#).unwrap();
        let two = serde_json::from_str(r#"{"a":[1.50,null],"b":1}"#).unwrap();
        assert_eq!(Metadata::new(&one), Metadata::new(&two));
        assert_eq!(Metadata::new(&one).as_str(), r#"{"a":[1.5,null],"b":1}"#);
    }
}
