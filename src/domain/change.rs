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
    /// The first eight bytes of the SHA-256 of the content, below zero for one that may still go on: of two states of
    /// the same moment that which has ended is the later one.
    pub content_digest: i64,
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
}

impl Content for User {}
impl Content for Organization {}
impl Content for Membership {}
impl Content for Invitation {
    fn has_ended(&self) -> bool {
        self.status != InvitationStatus::Pending
    }
}

impl<T: Content> Observed<T> {
    /// A state as Clerk had it at `observed_at_ms`.
    pub fn new(content: T, updated_at_ms: i64, observed_at_ms: i64) -> Self {
        let digest = digest(&content);
        let content_digest = if content.has_ended() { digest & i64::MAX } else { digest | i64::MIN };
        Self { content, version: Version { updated_at_ms, observed_at_ms, content_digest } }
    }
}

fn digest(content: &impl Serialize) -> i64 {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::Metadata;

    #[test]
    fn an_invitation_that_has_ended_is_the_later_of_two_states_of_one_moment() {
        let version = |number: i64, status| {
            let invitation = Invitation {
                id: InvitationId::parse(format!("orginv_{number}")).unwrap(),
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
