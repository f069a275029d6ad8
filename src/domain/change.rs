//! What may happen to the read model, said the same way by deliveries and by reconciliation.

use serde::Serialize;

use super::id::{InvitationId, MembershipId, OrganizationId, UserId};
use super::model::{Invitation, InvitationStatus, Membership, Organization, User};

/// The place of an upsert in the total order of its object's upserts: Clerk's own `updated_at`, then when
/// the state was observed, then a digest of the content as the last tie-break. When it arrived does not
/// matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// `updated_at` of the object.
    pub updated_at_ms: i64,
    /// The envelope's `timestamp`, or Clerk's own clock when the state was asked for.
    pub observed_at_ms: i64,
    /// The first eight bytes of the SHA-256 of the content. Below zero while the state may still change, so that of two of
    /// one moment the final one is the later. The upper half of a membership's is the digest of its organization and
    /// user alone, which stays when its content is blanked.
    pub content_digest: i64,
}

/// The half of a membership's digest that says what its role and metadata were.
const CONTENT_HALF: i64 = 0xffff_ffff;

impl Version {
    /// Of a membership that fell with its user or organization. Where it was stays known, and still decides between
    /// two states of one moment; what it said is not told by its digest either.
    #[must_use]
    pub fn of_fallen_membership(self) -> Self {
        Self { content_digest: self.content_digest & !CONTENT_HALF, ..self }
    }
}

/// One state of an object, and where it stands in the order of states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed<T> {
    /// The state.
    pub content: T,
    /// Its place in the order.
    pub version: Version,
}

/// What changes have as their content.
pub trait Content: Serialize {
    /// Whether nothing comes after this state but a deletion.
    fn has_ended(&self) -> bool {
        false
    }

    /// What decides between two states of one moment.
    fn digest(&self) -> i64 {
        digest(self)
    }
}

impl Content for User {}
impl Content for Organization {}
impl Content for Membership {
    fn digest(&self) -> i64 {
        let place = digest(&(&self.organization_id, &self.user_id));
        (place & !CONTENT_HALF) | (digest(self) & CONTENT_HALF)
    }
}
impl Content for Invitation {
    fn has_ended(&self) -> bool {
        self.status != InvitationStatus::Pending
    }
}

impl<T: Content> Observed<T> {
    /// A state as Clerk had it at `observed_at_ms`.
    pub fn new(content: T, updated_at_ms: i64, observed_at_ms: i64) -> Self {
        let digest = content.digest();
        let content_digest = if content.has_ended() { digest & i64::MAX } else { digest | i64::MIN };
        Self { content, version: Version { updated_at_ms, observed_at_ms, content_digest } }
    }
}

fn digest(content: &(impl Serialize + ?Sized)) -> i64 {
    // The entities are plain structs of text, numbers and flags; writing them cannot fail.
    let text = serde_json::to_vec(content).unwrap_or_default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text);
    digest.as_ref().first_chunk().map_or(0, |bytes| i64::from_be_bytes(*bytes))
}

/// What a delivery or a pass says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A state of a user, and the last sign-in that came with it.
    User {
        /// The state.
        user: Observed<User>,
        /// A register of its own: the greatest value ever seen counts.
        last_sign_in_at_ms: Option<i64>,
    },
    /// A user signed in.
    SignIn {
        /// The user.
        user_id: UserId,
        /// When.
        at_ms: i64,
    },
    /// A user is gone for good.
    UserDeleted {
        /// The user.
        id: UserId,
        /// When, as far as is known.
        at_ms: i64,
    },
    /// A state of an organization.
    Organization(Observed<Organization>),
    /// An organization is gone for good.
    OrganizationDeleted {
        /// The organization.
        id: OrganizationId,
        /// When, as far as is known.
        at_ms: i64,
    },
    /// A state of a membership.
    Membership(Observed<Membership>),
    /// A membership is gone for good; its user may come back under a new one.
    MembershipDeleted {
        /// The membership.
        id: MembershipId,
        /// Its organization.
        organization_id: OrganizationId,
        /// Its user.
        user_id: UserId,
        /// When it was made; `None` when the event does not say.
        created_at_ms: Option<i64>,
        /// When it ended, as far as is known.
        at_ms: i64,
    },
    /// A state of an invitation.
    Invitation(Observed<Invitation>),
    /// An invitation is gone for good.
    InvitationDeleted {
        /// The invitation.
        id: InvitationId,
        /// When, as far as is known.
        at_ms: i64,
    },
}

impl Change {
    /// The user of a membership, who is listed once both are known.
    pub fn member(&self) -> Option<&UserId> {
        if let Self::Membership(membership) = self { Some(&membership.content.user_id) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::{Metadata, Role};

    #[test]
    fn what_a_fallen_membership_said_is_forgotten_and_its_place_is_not() {
        let version = |user: &str, role: &str| {
            let membership = Membership {
                id: MembershipId::parse("orgmem_1").unwrap(),
                organization_id: OrganizationId::parse("org_1").unwrap(),
                user_id: UserId::parse(user).unwrap(),
                role: Role::new(role),
                public_metadata: Metadata::default(),
                created_at_ms: 0,
            };
            Observed::new(membership, 5, 7).version
        };
        let (member, admin, other) =
            (version("user_1", "member"), version("user_1", "admin"), version("user_2", "member"));
        assert_ne!(member, admin);
        assert_eq!(member.of_fallen_membership(), admin.of_fallen_membership());
        assert_ne!(member.of_fallen_membership(), other.of_fallen_membership());
        assert_eq!(member.cmp(&other), member.of_fallen_membership().cmp(&other));
    }

    #[test]
    fn an_invitation_that_has_ended_is_the_later_of_two_states_of_one_moment() {
        let version = |number: i64, status| {
            let invitation = Invitation {
                id: InvitationId::parse(&format!("orginv_{number}")).unwrap(),
                organization_id: None,
                user_id: None,
                email: None,
                role: None,
                status,
                public_metadata: Metadata::default(),
                created_at_ms: 0,
                expires_at_ms: None,
            };
            Observed::new(invitation, 5, 7).version
        };
        for number in 0..50 {
            let open = version(number, InvitationStatus::Pending);
            for status in [InvitationStatus::Accepted, InvitationStatus::Revoked, InvitationStatus::Expired] {
                assert!(version(number, status) > open);
            }
        }
    }
}
