//! Applies changes to the read model: the one door for writes.
//!
//! Deliveries and passes both end here, many in one transaction: load the states they are about, merge
//! (`domain::merge` decides), save what grew, and let everything that is derived follow: what falls with a
//! deleted parent, who is listed, the journal, and the erasure of deleted people.
//!
//! Invariant: the same changes, in any order and any number of times, leave the same rows
//! (`tests/store/convergence.rs`).

use std::collections::{BTreeMap, BTreeSet};

use sqlx::sqlite::SqliteConnection;

use super::error::StoreError;
use super::journal::{self, Delivery, Entry};
use super::project::{self, Place};
use super::states;
use crate::domain::merge::{Effect, InvitationState, MembershipState, OrganizationState, UserState};
use crate::domain::{Change, InvitationId, MembershipId, OrganizationId, Outcome, UserId};

/// What a caller wants written.
#[derive(Clone)]
pub(super) enum Work {
    /// An event that was understood.
    Delivery {
        /// For the journal.
        delivery: Delivery,
        /// What it says.
        changes: Vec<Change>,
    },
    /// An event that was not understood.
    DeadLetter {
        /// For the journal.
        delivery: Delivery,
        /// Why not.
        error: String,
    },
    /// What a pass found.
    Pass {
        /// What it says.
        changes: Vec<Change>,
    },
}

impl Work {
    fn delivery(&self) -> Option<&Delivery> {
        match self {
            Self::Delivery { delivery, .. } | Self::DeadLetter { delivery, .. } => Some(delivery),
            Self::Pass { .. } => None,
        }
    }

    /// About how much memory it takes while it waits.
    pub(super) fn kib(&self) -> u32 {
        const CHANGE: usize = 2;
        let payload = self.delivery().and_then(|delivery| delivery.payload.as_ref()).map_or(0, String::len);
        u32::try_from(1 + payload / 1024 + self.changes().len() * CHANGE).unwrap_or(u32::MAX)
    }

    fn changes(&self) -> &[Change] {
        match self {
            Self::Delivery { changes, .. } | Self::Pass { changes } => changes,
            Self::DeadLetter { .. } => &[],
        }
    }
}

/// What a batch came to.
pub(super) struct Written {
    /// For each piece of work the outcome of a delivery, or one outcome for each change of a pass.
    pub(super) outcomes: Vec<Vec<Outcome>>,
    /// Whether personal data was blanked.
    pub(super) erased: bool,
    /// Organizations of which an answer may be another one now.
    pub(super) touched: BTreeSet<OrganizationId>,
    /// When the newest event of those that were applied happened.
    pub(super) last_applied_ms: Option<i64>,
}

/// Writes a batch within the caller's transaction.
pub(super) async fn batch(db: &mut SqliteConnection, work: Vec<Work>) -> Result<Written, StoreError> {
    let mut settled = journal::settled(db, work.iter().filter_map(Work::delivery)).await?;
    let mut model = Model::load(db, &work).await?;
    let mut entries = Vec::with_capacity(work.len());
    let mut outcomes = Vec::with_capacity(work.len());
    for work in work {
        match work {
            Work::Delivery { delivery, .. } if settled.contains(&delivery.message_id) => {
                outcomes.push(vec![Outcome::Duplicate]);
            }
            Work::Delivery { delivery, changes } => {
                let effect = changes.into_iter().map(|change| model.merge(change)).max();
                let outcome = outcome(effect.unwrap_or(Effect::None));
                settled.insert(delivery.message_id.clone());
                entries.push(Entry { delivery, outcome: outcome.as_str(), error: None });
                outcomes.push(vec![outcome]);
            }
            Work::DeadLetter { delivery, error } => {
                let again = settled.contains(&delivery.message_id);
                if !again {
                    entries.push(Entry { delivery, outcome: journal::DEAD, error: Some(error) });
                }
                outcomes.push(Vec::from_iter(again.then_some(Outcome::Duplicate)));
            }
            Work::Pass { changes } => {
                outcomes.push(changes.into_iter().map(|change| outcome(model.merge(change))).collect());
            }
        }
    }
    let mut touched = model.save(db).await?;
    touched.append(&mut model.grown.touched);
    let applied = entries.iter().filter(|entry| entry.outcome == Outcome::Applied.as_str());
    let last_applied_ms = applied.filter_map(|entry| entry.delivery.occurred_at_ms).max();
    journal::record(db, entries, |delivery| model.is_erased(delivery)).await?;
    let erased = model.erased_users();
    journal::erase(db, &erased).await?;
    Ok(Written { outcomes, erased: !erased.is_empty(), touched, last_applied_ms })
}

fn outcome(effect: Effect) -> Outcome {
    if effect == Effect::None { Outcome::Stale } else { Outcome::Applied }
}

/// The part of the read model that a batch is about: its objects and their parents.
#[derive(Default)]
struct Model {
    users: BTreeMap<UserId, UserState>,
    organizations: BTreeMap<OrganizationId, OrganizationState>,
    memberships: BTreeMap<MembershipId, MembershipState>,
    invitations: BTreeMap<InvitationId, InvitationState>,
    grown: Grown,
}

/// What a batch made grow.
#[derive(Default)]
struct Grown {
    /// As they were before.
    users: BTreeMap<UserId, UserState>,
    /// As they were before.
    organizations: BTreeMap<OrganizationId, OrganizationState>,
    memberships: BTreeSet<MembershipId>,
    invitations: BTreeSet<InvitationId>,
    /// Where memberships are, and were.
    places: BTreeSet<Place>,
    /// Users of whom an answer may say something else now.
    changed_users: BTreeSet<UserId>,
    /// Organizations whose own rows, their memberships' and invitations' among them, changed so.
    touched: BTreeSet<OrganizationId>,
}

impl Model {
    async fn load(db: &mut SqliteConnection, work: &[Work]) -> Result<Self, StoreError> {
        let (mut users, mut organizations) = (BTreeSet::new(), BTreeSet::new());
        let (mut memberships, mut invitations) = (BTreeSet::new(), BTreeSet::new());
        for change in work.iter().flat_map(Work::changes) {
            match change {
                Change::User { user, .. } => {
                    users.insert(user.content.id.clone());
                }
                Change::SignIn { user_id: id, .. } | Change::UserDeleted { id, .. } => {
                    users.insert(id.clone());
                }
                Change::Organization(organization) => {
                    organizations.insert(organization.content.id.clone());
                }
                Change::OrganizationDeleted { id, .. } => {
                    organizations.insert(id.clone());
                }
                Change::Membership(membership) => {
                    let membership = &membership.content;
                    memberships.insert(membership.id.clone());
                    organizations.insert(membership.organization_id.clone());
                    users.insert(membership.user_id.clone());
                }
                Change::MembershipDeleted { id, organization_id, user_id, .. } => {
                    memberships.insert(id.clone());
                    organizations.insert(organization_id.clone());
                    users.insert(user_id.clone());
                }
                Change::Invitation(invitation) => {
                    let invitation = &invitation.content;
                    invitations.insert(invitation.id.clone());
                    organizations.extend(invitation.organization_id.clone());
                    users.extend(invitation.user_id.clone());
                }
                Change::InvitationDeleted { id, .. } => {
                    invitations.insert(id.clone());
                }
            }
        }
        for delivery in work.iter().filter_map(Work::delivery) {
            users.extend(delivery.user_id.clone());
            memberships.extend(delivery.membership_id());
            invitations.extend(delivery.invitation_id());
        }
        let memberships = states::load_memberships(db, &memberships).await?;
        let invitations = states::load_invitations(db, &invitations).await?;
        for membership in memberships.values() {
            organizations.insert(membership.organization_id.clone());
            users.insert(membership.user_id.clone());
        }
        for invitation in invitations.values() {
            organizations.extend(invitation.organization_id.clone());
            users.extend(invitation.user_id.clone());
        }
        let users = states::load_users(db, &users).await?;
        let organizations = states::load_organizations(db, &organizations).await?;
        Ok(Self { users, organizations, memberships, invitations, grown: Grown::default() })
    }

    fn merge(&mut self, change: Change) -> Effect {
        match change {
            Change::User { user, last_sign_in_at_ms } => {
                let id = user.content.id.clone();
                self.merge_user(id, |state| state.upsert(user, last_sign_in_at_ms))
            }
            Change::SignIn { user_id, at_ms } => self.merge_user(user_id, |state| state.sign_in(Some(at_ms))),
            Change::UserDeleted { id, at_ms } => self.merge_user(id, |state| state.delete(at_ms)),
            Change::Organization(organization) => {
                let id = organization.content.id.clone();
                self.merge_organization(id, |state| state.upsert(organization))
            }
            Change::OrganizationDeleted { id, at_ms } => {
                self.merge_organization(id, |state| state.delete(at_ms))
            }
            Change::Membership(membership) => {
                let content = &membership.content;
                let place = (content.organization_id.clone(), content.user_id.clone());
                let id = content.id.clone();
                self.merge_membership(&id, &place, |state| state.upsert(membership))
            }
            Change::MembershipDeleted { id, organization_id, user_id, created_at_ms, at_ms } => {
                let place = (organization_id.clone(), user_id.clone());
                self.merge_membership(&id, &place, |state| {
                    state.delete(organization_id, user_id, created_at_ms, at_ms)
                })
            }
            Change::Invitation(invitation) => {
                let id = invitation.content.id.clone();
                self.merge_invitation(&id, |state| state.upsert(invitation))
            }
            Change::InvitationDeleted { id, at_ms } => {
                self.merge_invitation(&id, |state| state.delete(at_ms))
            }
        }
    }

    fn merge_user(&mut self, id: UserId, merge: impl FnOnce(&mut UserState) -> Effect) -> Effect {
        let state = self.users.entry(id.clone()).or_default();
        let before = state.clone();
        let effect = merge(state);
        if effect == Effect::Visible {
            self.grown.changed_users.insert(id.clone());
        }
        if effect != Effect::None {
            self.grown.users.entry(id).or_insert(before);
        }
        effect
    }

    fn merge_organization(
        &mut self,
        id: OrganizationId,
        merge: impl FnOnce(&mut OrganizationState) -> Effect,
    ) -> Effect {
        let state = self.organizations.entry(id.clone()).or_default();
        let before = state.clone();
        let effect = merge(state);
        if effect == Effect::Visible {
            self.grown.touched.insert(id.clone());
        }
        if effect != Effect::None {
            self.grown.organizations.entry(id).or_insert(before);
        }
        effect
    }

    fn merge_membership(
        &mut self,
        id: &MembershipId,
        place: &Place,
        merge: impl FnOnce(&mut MembershipState) -> Effect,
    ) -> Effect {
        let state = self
            .memberships
            .entry(id.clone())
            .or_insert_with(|| MembershipState::new(place.0.clone(), place.1.clone()));
        let before = (state.organization_id.clone(), state.user_id.clone());
        let made_at_ms = state.created_at_ms;
        let effect = merge(state);
        if effect != Effect::None {
            let after = (state.organization_id.clone(), state.user_id.clone());
            // When it was made decides whether it is the newest.
            if effect == Effect::Visible || state.created_at_ms != made_at_ms {
                self.grown.touched.extend([before.0.clone(), after.0.clone()]);
            }
            self.grown.places.extend([before, after]);
            self.grown.memberships.insert(id.clone());
        }
        // What belongs to a deleted parent may grow, so that arrival does not matter, but nobody sees it.
        if self.memberships.get(id).is_some_and(|state| self.membership_fell(state)) {
            return Effect::None;
        }
        effect
    }

    fn merge_invitation(
        &mut self,
        id: &InvitationId,
        merge: impl FnOnce(&mut InvitationState) -> Effect,
    ) -> Effect {
        let state = self.invitations.entry(id.clone()).or_default();
        let effect = merge(state);
        if effect == Effect::Visible {
            self.grown.touched.extend(state.organization_id.clone());
        }
        if effect != Effect::None {
            self.grown.invitations.insert(id.clone());
        }
        if self.invitations.get(id).is_some_and(|state| self.invitation_fell(state)) {
            return Effect::None;
        }
        effect
    }

    fn is_user_deleted(&self, id: &UserId) -> bool {
        self.users.get(id).is_some_and(|user| user.deleted_at_ms.is_some())
    }

    fn is_organization_deleted(&self, id: &OrganizationId) -> bool {
        self.organizations.get(id).is_some_and(|organization| organization.deleted_at_ms.is_some())
    }

    fn membership_fell(&self, state: &MembershipState) -> bool {
        self.is_user_deleted(&state.user_id) || self.is_organization_deleted(&state.organization_id)
    }

    fn invitation_fell(&self, state: &InvitationState) -> bool {
        state.user_id.as_ref().is_some_and(|id| self.is_user_deleted(id))
            || state.organization_id.as_ref().is_some_and(|id| self.is_organization_deleted(id))
    }

    /// Whether a delivery is about a deleted user, so that its payload must not be kept.
    fn is_erased(&self, delivery: &Delivery) -> bool {
        let invitation = delivery.invitation_id().and_then(|id| self.invitations.get(&id));
        let accepted_by = invitation.and_then(|invitation| invitation.user_id.as_ref());
        let membership = delivery.membership_id().and_then(|id| self.memberships.get(&id));
        let member = membership.map(|membership| &membership.user_id);
        delivery.user_id.iter().chain(accepted_by).chain(member).any(|id| self.is_user_deleted(id))
    }

    /// Deleted users of whom this batch may have left something in the journal: those that it deleted, and
    /// those that it linked to an invitation or a membership.
    fn erased_users(&self) -> BTreeSet<&UserId> {
        let accepted =
            self.grown.invitations.iter().filter_map(|id| self.invitations.get(id)?.user_id.as_ref());
        let joined = self.grown.memberships.iter().filter_map(|id| Some(&self.memberships.get(id)?.user_id));
        let users = self.grown.users.keys().chain(accepted).chain(joined);
        users.filter(|id| self.is_user_deleted(id)).collect()
    }

    /// Writes what grew and what follows from it. Answers the organizations of the users that changed.
    async fn save(&self, db: &mut SqliteConnection) -> Result<BTreeSet<OrganizationId>, StoreError> {
        let Self { users, organizations, memberships, invitations, grown } = self;
        states::save_users(db, users.iter().filter(|(id, _)| grown.users.contains_key(id))).await?;
        let grown_organizations = organizations.iter().filter(|(id, _)| grown.organizations.contains_key(id));
        states::save_organizations(db, grown_organizations).await?;
        let grown_memberships = memberships.iter().filter(|(id, _)| grown.memberships.contains(id));
        states::save_memberships(db, grown_memberships, |state| self.membership_fell(state)).await?;
        let grown_invitations = invitations.iter().filter(|(id, _)| grown.invitations.contains(id));
        states::save_invitations(db, grown_invitations, |state| self.invitation_fell(state)).await?;

        let newly_deleted_users: Vec<_> = (grown.users.iter())
            .filter(|(id, before)| before.deleted_at_ms.is_none() && self.is_user_deleted(id))
            .map(|(id, _)| id)
            .collect();
        let newly_deleted_organizations: Vec<_> = (grown.organizations.iter())
            .filter(|(id, before)| before.deleted_at_ms.is_none() && self.is_organization_deleted(id))
            .map(|(id, _)| id)
            .collect();
        project::fall_with_users(db, &newly_deleted_users).await?;
        project::fall_with_organizations(db, &newly_deleted_organizations).await?;

        let of_users = project::places_of(db, grown.changed_users.iter()).await?;
        let touched = of_users.iter().map(|(organization, _)| organization.clone()).collect();
        let rekeyed = |user: &UserId| {
            let before = grown.users.get(user);
            users.get(user).and_then(project::keys) != before.and_then(project::keys)
        };
        let mut places: BTreeSet<_> = of_users.into_iter().filter(|(_, user)| rekeyed(user)).collect();
        places.extend(grown.places.iter().cloned());
        project::list(db, &places, |user_id| users.get(user_id).and_then(project::keys)).await?;
        Ok(touched)
    }
}
