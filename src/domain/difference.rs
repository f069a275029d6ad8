//! How an object that Clerk shows differs from what is known.

use super::change::{Change, Version};
use super::entity::Entity;

/// What is known of one object, as far as a comparison needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredState {
    /// This state.
    There {
        /// Its place in the order of states.
        version: Version,
        /// The greatest sign-in time ever seen; `None` for what is no user.
        last_sign_in_at_ms: Option<i64>,
    },
    /// It is deleted, or one of its parents is.
    Gone,
}

/// How one object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Not known here.
    Missing,
    /// Known here in an older state.
    Stale,
    /// The same, or newer here, or deleted here: nothing to put right.
    None,
}

/// The entity, the id and the version of a state; `None` for what is no state.
fn state(change: &Change) -> Option<(Entity, &str, Version)> {
    match change {
        Change::User { user, .. } => Some((Entity::Users, user.content.id.as_str(), user.version)),
        Change::Organization(organization) => {
            Some((Entity::Organizations, organization.content.id.as_str(), organization.version))
        }
        Change::Membership(membership) => {
            Some((Entity::Memberships, membership.content.id.as_str(), membership.version))
        }
        Change::Invitation(invitation) => {
            Some((Entity::Invitations, invitation.content.id.as_str(), invitation.version))
        }
        _ => None,
    }
}

/// The id of the object that a state is of; `None` for what is no state.
pub fn id(change: &Change) -> Option<&str> {
    state(change).map(|(_, id, _)| id)
}

/// Compares a state that Clerk shows with what is known of the object.
pub fn difference(shown: &Change, known: Option<&StoredState>) -> Difference {
    let Some((_, _, version)) = state(shown) else { return Difference::None };
    match known {
        None => Difference::Missing,
        Some(StoredState::Gone) => Difference::None,
        Some(StoredState::There { version: known, last_sign_in_at_ms }) => {
            let same = (known.updated_at_ms, known.content_digest)
                == (version.updated_at_ms, version.content_digest);
            let signed_in = matches!(shown, Change::User { last_sign_in_at_ms: shown, .. }
                if shown > last_sign_in_at_ms);
            if signed_in || (!same && version > *known) { Difference::Stale } else { Difference::None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Observed, Organization, OrganizationId};

    fn shown(name: &str, updated: i64, observed: i64) -> Change {
        let id = OrganizationId::parse("org_1").unwrap();
        let content = Organization { id, name: Some(name.to_owned()), created_at_ms: 0 };
        Change::Organization(Observed::new(content, updated, observed))
    }

    fn known(change: &Change) -> StoredState {
        let (_, _, version) = state(change).unwrap();
        StoredState::There { version, last_sign_in_at_ms: None }
    }

    #[test]
    fn what_is_not_known_is_missing_and_what_is_gone_stays_gone() {
        assert_eq!(difference(&shown("a", 1, 1), None), Difference::Missing);
        assert_eq!(difference(&shown("a", 1, 1), Some(&StoredState::Gone)), Difference::None);
    }

    #[test]
    fn only_a_newer_and_different_state_makes_ours_stale() {
        let ours = known(&shown("a", 5, 5));
        assert_eq!(difference(&shown("a", 5, 9), Some(&ours)), Difference::None);
        assert_eq!(difference(&shown("b", 5, 9), Some(&ours)), Difference::Stale);
        assert_eq!(difference(&shown("b", 6, 6), Some(&ours)), Difference::Stale);
        assert_eq!(difference(&shown("b", 4, 9), Some(&ours)), Difference::None);
    }
}
