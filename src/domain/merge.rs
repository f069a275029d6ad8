//! Decides what a change does to what is known: the one place where order is decided.
//!
//! Each object is known by a state that only ever grows: the greatest [`Version`] seen wins, a deletion
//! is terminal, and registers such as the last sign-in keep their extreme value. Growing is commutative and
//! idempotent, so the same changes in any order and any number of times leave the same states. Nothing
//! here looks at when a change arrived.
//!
//! Invariant: `tests/store/convergence.rs`.

use super::change::{Observed, Version};
use super::id::{OrganizationId, UserId};
use super::model::{Invitation, Membership, Organization, User};

/// What a change did to a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Nothing: it is older than what is known, or the same.
    None,
    /// The state grew, in nothing that an answer shows.
    Recorded,
    /// Something that an answer shows may be different.
    Visible,
}

impl Effect {
    fn of(changed: bool) -> Self {
        if changed { Self::Visible } else { Self::None }
    }
}

/// Moves a register to the smaller value. A deletion that two sources saw happened at the earlier moment.
fn earliest(register: &mut Option<i64>, value: i64) -> bool {
    let smaller = register.is_none_or(|known| value < known);
    if smaller {
        *register = Some(value);
    }
    smaller
}

/// Moves a register to the greater value; `None` is the least.
fn greatest<T: PartialOrd + Clone>(register: &mut Option<T>, value: Option<&T>) -> bool {
    let greater = value.is_some_and(|value| register.as_ref().is_none_or(|known| value > known));
    if greater {
        *register = value.cloned();
    }
    greater
}

/// Takes a state of an object when it is newer than the one that is known.
fn newest<T>(known: &mut Option<Observed<T>>, offered: Observed<T>) -> Effect {
    let before = known.as_ref().map(|known| known.version);
    if before.is_some_and(|before| offered.version <= before) {
        return Effect::None;
    }
    // The same content at the same `updated_at`, seen again later: the place in the order moves, so that a
    // state that was observed in between loses, but no answer changes.
    let same = |before: Version| {
        (before.updated_at_ms, before.content_digest)
            == (offered.version.updated_at_ms, offered.version.content_digest)
    };
    let effect = if before.is_some_and(same) { Effect::Recorded } else { Effect::Visible };
    *known = Some(offered);
    effect
}

/// What is known of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserState {
    /// The newest state; `None` while only a sign-in is known, and after the deletion.
    pub known: Option<Observed<User>>,
    /// The greatest value ever seen.
    pub last_sign_in_at_ms: Option<i64>,
    /// Terminal.
    pub deleted_at_ms: Option<i64>,
}

impl UserState {
    /// Takes a state of the user.
    pub fn upsert(&mut self, user: Observed<User>, last_sign_in_at_ms: Option<i64>) -> Effect {
        if self.deleted_at_ms.is_some() {
            return Effect::None;
        }
        let signed_in = self.sign_in(last_sign_in_at_ms);
        newest(&mut self.known, user).max(signed_in)
    }

    /// Takes the time of a sign-in.
    pub fn sign_in(&mut self, at_ms: Option<i64>) -> Effect {
        Effect::of(self.deleted_at_ms.is_none() && greatest(&mut self.last_sign_in_at_ms, at_ms.as_ref()))
    }

    /// Deletes the user: only the id and the time of it remain.
    pub fn delete(&mut self, at_ms: i64) -> Effect {
        self.known = None;
        self.last_sign_in_at_ms = None;
        Effect::of(earliest(&mut self.deleted_at_ms, at_ms))
    }
}

/// What is known of an organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationState {
    /// The newest state; `None` after the deletion.
    pub known: Option<Observed<Organization>>,
    /// Terminal.
    pub deleted_at_ms: Option<i64>,
}

impl OrganizationState {
    /// Takes a state of the organization.
    pub fn upsert(&mut self, organization: Observed<Organization>) -> Effect {
        if self.deleted_at_ms.is_some() { Effect::None } else { newest(&mut self.known, organization) }
    }

    /// Deletes the organization.
    pub fn delete(&mut self, at_ms: i64) -> Effect {
        self.known = None;
        Effect::of(earliest(&mut self.deleted_at_ms, at_ms))
    }
}

/// What is known of a membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipState {
    /// Where it places its user. A deletion's word on that is the last one.
    pub organization_id: OrganizationId,
    /// The user.
    pub user_id: UserId,
    /// When it was made: the greatest value ever seen, kept after the deletion to tell old from new.
    pub created_at_ms: i64,
    /// The newest state; `None` after the deletion.
    pub known: Option<Observed<Membership>>,
    /// Terminal.
    pub deleted_at_ms: Option<i64>,
}

impl MembershipState {
    /// A membership of which nothing but its place is known yet.
    pub fn new(organization_id: OrganizationId, user_id: UserId) -> Self {
        Self { organization_id, user_id, created_at_ms: i64::MIN, known: None, deleted_at_ms: None }
    }

    /// Takes a state of the membership.
    pub fn upsert(&mut self, membership: Observed<Membership>) -> Effect {
        let renewed = self.made_at(Some(membership.content.created_at_ms));
        if self.deleted_at_ms.is_some() {
            return renewed;
        }
        let place = (membership.content.organization_id.clone(), membership.content.user_id.clone());
        let effect = newest(&mut self.known, membership);
        if effect != Effect::None {
            (self.organization_id, self.user_id) = place;
        }
        effect.max(renewed)
    }

    /// Deletes the membership.
    pub fn delete(
        &mut self,
        organization_id: OrganizationId,
        user_id: UserId,
        created_at_ms: Option<i64>,
        at_ms: i64,
    ) -> Effect {
        let place = (organization_id, user_id);
        let moved = match self.deleted_at_ms {
            None => true,
            Some(_) => place > (self.organization_id.clone(), self.user_id.clone()),
        };
        if moved {
            (self.organization_id, self.user_id) = place;
        }
        self.known = None;
        let renewed = self.made_at(created_at_ms);
        let ended = Effect::of(earliest(&mut self.deleted_at_ms, at_ms) || moved);
        ended.max(renewed)
    }

    fn made_at(&mut self, created_at_ms: Option<i64>) -> Effect {
        let later = created_at_ms.is_some_and(|created_at_ms| created_at_ms > self.created_at_ms);
        if later {
            self.created_at_ms = created_at_ms.unwrap_or(self.created_at_ms);
        }
        // When it was made is shown with the state, and the state has a version of its own.
        if later { Effect::Recorded } else { Effect::None }
    }
}

/// What is known of an invitation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InvitationState {
    /// Its organization: once known, known for good.
    pub organization_id: Option<OrganizationId>,
    /// Who accepted it: once known, known for good. It is accepted once, so there is one answer.
    pub user_id: Option<UserId>,
    /// The newest state; `None` after the deletion.
    pub known: Option<Observed<Invitation>>,
    /// Terminal.
    pub deleted_at_ms: Option<i64>,
}

impl InvitationState {
    /// Takes a state of the invitation.
    pub fn upsert(&mut self, invitation: Observed<Invitation>) -> Effect {
        let mut linked = greatest(&mut self.organization_id, invitation.content.organization_id.as_ref());
        linked |= greatest(&mut self.user_id, invitation.content.user_id.as_ref());
        if self.deleted_at_ms.is_some() {
            return if linked { Effect::Recorded } else { Effect::None };
        }
        newest(&mut self.known, invitation).max(Effect::of(linked))
    }

    /// Deletes the invitation.
    pub fn delete(&mut self, at_ms: i64) -> Effect {
        self.known = None;
        Effect::of(earliest(&mut self.deleted_at_ms, at_ms))
    }
}
