//! The part of the read model that a batch is about.
//!
//! It is loaded with one script, or two, grows in memory as `domain::merge` decides, and is saved with two more, with
//! all that follows from what grew: what falls with a deleted parent, and who is listed.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::apply::Work;
use super::connection::Connection;
use super::error::StoreError;
use super::journal::{self, Delivery};
use super::listener;
use super::parents::{self, Keys, Parent, Parents};
use super::project::{self, MemberKey};
use super::rows::{Answers, Asked, Script};
use super::states;
use super::versions::{self, Touched};
use crate::domain::merge::{Effect, InvitationState, MembershipState, OrganizationState, UserState};
use crate::domain::{
    Change, InvitationId, InvitationStatus, MembershipId, Observed, OrganizationId, StoredState, UserId,
};

/// The objects of a batch and their parents.
#[derive(Default)]
pub(super) struct Model {
    users: BTreeMap<UserId, UserState>,
    organizations: BTreeMap<OrganizationId, OrganizationState>,
    memberships: BTreeMap<MembershipId, MembershipState>,
    invitations: BTreeMap<InvitationId, InvitationState>,
    /// Of users that the batch does not change, those that may be listed, and by what.
    keys: BTreeMap<UserId, Keys>,
    /// Those of them that are deleted.
    deleted_users: BTreeSet<UserId>,
    /// Of organizations that the batch does not change, those that are deleted.
    deleted_organizations: BTreeSet<OrganizationId>,
    /// Of the last batch that changed an answer.
    last_version: i64,
    grown: Grown,
}

/// What a batch made grow.
#[derive(Default)]
struct Grown {
    users: BTreeMap<UserId, Growth>,
    organizations: BTreeMap<OrganizationId, Growth>,
    memberships: BTreeSet<MembershipId>,
    invitations: BTreeSet<InvitationId>,
    /// Whether somebody whom nobody has named has accepted one.
    forgets: bool,
    /// Where memberships are, and were, that decide anew who is listed.
    members: BTreeSet<MemberKey>,
    /// Those of them at which somebody may have to be taken off the list.
    ended: BTreeSet<MemberKey>,
}

/// How a user or an organization grew.
struct Growth {
    /// As it was before the batch.
    before: Parent,
    /// The greatest effect.
    effect: Effect,
}

impl Growth {
    fn is_seen(&self) -> bool {
        self.effect == Effect::Visible
    }
}

impl Model {
    /// Loads what the work is about, and which of its messages are settled.
    pub(super) async fn load(
        db: &mut Connection,
        work: &[&Work],
    ) -> Result<(Self, HashSet<String>), StoreError> {
        let (mut users, mut organizations) = (BTreeSet::new(), BTreeSet::new());
        let (mut memberships, mut invitations) = (BTreeSet::new(), BTreeSet::new());
        let mut parents = Parents::default();
        for change in work.iter().flat_map(|work| work.changes()) {
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
                    parents.of_membership(&membership.organization_id, &membership.user_id);
                }
                Change::MembershipDeleted { id, organization_id, user_id, .. } => {
                    memberships.insert(id.clone());
                    parents.of_membership(organization_id, user_id);
                }
                Change::Invitation(invitation) => {
                    let invitation = &invitation.content;
                    invitations.insert(invitation.id.clone());
                    parents.of_invitation(invitation.organization_id.as_ref(), invitation.user_id.as_ref());
                }
                Change::InvitationDeleted { id, .. } => {
                    invitations.insert(id.clone());
                }
            }
        }
        for delivery in work.iter().filter_map(|work| work.delivery()) {
            parents.of_invitation(None, delivery.user_id.as_ref());
            memberships.extend(delivery.membership_id());
            invitations.extend(delivery.invitation_id());
        }
        let mut script = Script::default();
        let last_version = versions::load_last(&mut script);
        let settled = journal::load_settled(&mut script, work.iter().filter_map(|work| work.delivery()));
        let memberships = states::load_memberships(&mut script, &memberships);
        let invitations = states::load_invitations(&mut script, &invitations);
        let loaded_users = states::load_users(&mut script, &users);
        let loaded_organizations = states::load_organizations(&mut script, &organizations);
        let asked = parents.without(&users, &organizations);
        let asked_parents = asked.load(&mut script);
        let mut answers = script.run(db).await?;

        let mut model = Self {
            users: states::users(answers.take(loaded_users))?,
            organizations: states::organizations(answers.take(loaded_organizations))?,
            memberships: states::memberships(answers.take(memberships))?,
            invitations: states::invitations(answers.take(invitations))?,
            last_version: versions::last(&answers.take(last_version))?,
            ..Self::default()
        };
        model.learn_of(&mut answers, asked_parents)?;
        // What is known of a membership or an invitation may lead to others than the work does.
        let mut more = Parents::default();
        for membership in model.memberships.values() {
            more.of_membership(&membership.organization_id, &membership.user_id);
        }
        for invitation in model.invitations.values() {
            more.of_invitation(invitation.organization_id.as_ref(), invitation.user_id.as_ref());
        }
        let more = more.without(&users, &organizations).without(&asked.users, &asked.organizations);
        let mut script = Script::default();
        let asked_more = more.load(&mut script);
        let mut more_answers = script.run(db).await?;
        model.learn_of(&mut more_answers, asked_more)?;
        Ok((model, journal::settled(&answers.take(settled))?))
    }

    /// Takes what is known of users and organizations that the work does not change.
    fn learn_of(&mut self, answers: &mut Answers, asked: (Asked, Asked)) -> Result<(), StoreError> {
        let (users, organizations) = asked;
        let (keys, deleted) = parents::users(&answers.take(users))?;
        self.keys.extend(keys);
        self.deleted_users.extend(deleted);
        let deleted = parents::deleted_organizations(&answers.take(organizations))?;
        self.deleted_organizations.extend(deleted);
        Ok(())
    }

    /// The version of the last batch that changed an answer.
    pub(super) fn last_version(&self) -> i64 {
        self.last_version
    }

    /// What is known of the object that a pass was shown.
    pub(super) fn known(&self, shown: &Change) -> Option<StoredState> {
        fn state<T>(known: Option<&Observed<T>>, last_sign_in_at_ms: Option<i64>) -> Option<StoredState> {
            known.map(|known| StoredState::There { version: known.version, last_sign_in_at_ms })
        }
        let gone = |gone: bool| gone.then_some(StoredState::Gone);
        match shown {
            Change::User { user, .. } => {
                let user = self.users.get(&user.content.id)?;
                gone(user.deleted_at_ms.is_some())
                    .or_else(|| state(user.known.as_ref(), user.last_sign_in_at_ms))
            }
            Change::Organization(organization) => {
                let organization = self.organizations.get(&organization.content.id)?;
                gone(organization.deleted_at_ms.is_some())
                    .or_else(|| state(organization.known.as_ref(), None))
            }
            Change::Membership(membership) => {
                let membership = self.memberships.get(&membership.content.id)?;
                gone(membership.deleted_at_ms.is_some() || self.membership_fell(membership))
                    .or_else(|| state(membership.known.as_ref(), None))
            }
            Change::Invitation(invitation) => {
                let invitation = self.invitations.get(&invitation.content.id)?;
                gone(invitation.deleted_at_ms.is_some() || self.invitation_fell(invitation))
                    .or_else(|| state(invitation.known.as_ref(), None))
            }
            _ => None,
        }
    }

    /// Takes a change as far as it is newer than what is known.
    pub(super) fn merge(&mut self, change: Change) -> Effect {
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
                let member = (content.organization_id.clone(), content.user_id.clone());
                let id = content.id.clone();
                let effect = self.merge_membership(&id, &member, |state| state.upsert(membership));
                // What is told of one that has ended is older than its end, though some of it is kept.
                let ended = self.memberships.get(&id).is_some_and(|state| state.deleted_at_ms.is_some());
                if ended { Effect::None } else { effect }
            }
            Change::MembershipDeleted { id, organization_id, user_id, created_at_ms, at_ms } => {
                let member = (organization_id.clone(), user_id.clone());
                self.merge_membership(&id, &member, |state| {
                    state.delete(organization_id, user_id, created_at_ms, at_ms)
                })
            }
            Change::Invitation(invitation) => {
                let id = invitation.content.id.clone();
                let effect = self.merge_invitation(&id, |state| state.upsert(invitation));
                let ended = self.invitations.get(&id).is_some_and(|state| state.deleted_at_ms.is_some());
                if ended { Effect::None } else { effect }
            }
            Change::InvitationDeleted { id, at_ms } => {
                self.merge_invitation(&id, |state| state.delete(at_ms))
            }
        }
    }

    fn merge_user(&mut self, id: UserId, merge: impl FnOnce(&mut UserState) -> Effect) -> Effect {
        let state = self.users.entry(id.clone()).or_default();
        let before = Parent::from(&*state);
        let effect = merge(state);
        if effect != Effect::None {
            let growth = self.grown.users.entry(id).or_insert(Growth { before, effect });
            growth.effect = growth.effect.max(effect);
        }
        effect
    }

    fn merge_organization(
        &mut self,
        id: OrganizationId,
        merge: impl FnOnce(&mut OrganizationState) -> Effect,
    ) -> Effect {
        let state = self.organizations.entry(id.clone()).or_default();
        let before = Parent { deleted: state.deleted_at_ms.is_some(), keys: None };
        let effect = merge(state);
        if effect != Effect::None {
            let growth = self.grown.organizations.entry(id).or_insert(Growth { before, effect });
            growth.effect = growth.effect.max(effect);
        }
        effect
    }

    fn merge_membership(
        &mut self,
        id: &MembershipId,
        member: &MemberKey,
        merge: impl FnOnce(&mut MembershipState) -> Effect,
    ) -> Effect {
        let state = self
            .memberships
            .entry(id.clone())
            .or_insert_with(|| MembershipState::new(member.0.clone(), member.1.clone()));
        let before = (state.organization_id.clone(), state.user_id.clone());
        let made_before = state.created_at_ms;
        let effect = merge(state);
        if effect != Effect::None {
            let after = (state.organization_id.clone(), state.user_id.clone());
            let (moved, ended) = (before != after, state.deleted_at_ms.is_some());
            // Seen again as it was, it changes nothing but its place in the order of states.
            if effect == Effect::Visible || moved || state.created_at_ms != made_before {
                let grown = &mut self.grown;
                grown.ended.extend(ended.then(|| after.clone()));
                grown.ended.extend(moved.then(|| before.clone()));
                grown.members.extend(moved.then_some(before));
                grown.members.insert(after);
            }
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
        self.grown.forgets |= effect == Effect::Visible && is_accepted_by_nobody_known(state);
        if effect != Effect::None {
            self.grown.invitations.insert(id.clone());
        }
        if self.invitations.get(id).is_some_and(|state| self.invitation_fell(state)) {
            return Effect::None;
        }
        effect
    }

    fn is_user_deleted(&self, id: &UserId) -> bool {
        match self.users.get(id) {
            Some(user) => user.deleted_at_ms.is_some(),
            None => self.deleted_users.contains(id),
        }
    }

    fn is_organization_deleted(&self, id: &OrganizationId) -> bool {
        match self.organizations.get(id) {
            Some(organization) => organization.deleted_at_ms.is_some(),
            None => self.deleted_organizations.contains(id),
        }
    }

    fn membership_fell(&self, state: &MembershipState) -> bool {
        self.is_user_deleted(&state.user_id) || self.is_organization_deleted(&state.organization_id)
    }

    fn invitation_fell(&self, state: &InvitationState) -> bool {
        state.user_id.as_ref().is_some_and(|id| self.is_user_deleted(id))
            || state.organization_id.as_ref().is_some_and(|id| self.is_organization_deleted(id))
    }

    /// Whether a delivery is about a deleted user, so that its payload must not be kept. One that names nobody is about
    /// whoever has its membership, or accepted its invitation.
    pub(super) fn is_erased(&self, delivery: &Delivery) -> bool {
        if let Some(user) = &delivery.user_id {
            return self.is_user_deleted(user);
        }
        let invitation = delivery.invitation_id().and_then(|id| self.invitations.get(&id));
        if invitation.is_some_and(is_accepted_by_nobody_known) {
            return true;
        }
        let accepted_by = invitation.and_then(|invitation| invitation.user_id.as_ref());
        let membership = delivery.membership_id().and_then(|id| self.memberships.get(&id));
        let member = membership.map(|membership| &membership.user_id);
        accepted_by.into_iter().chain(member).any(|id| self.is_user_deleted(id))
    }

    /// Deleted users of whom this batch may have left something in the journal: those that it deleted, and
    /// those that it linked to an invitation or a membership.
    pub(super) fn erased_users(&self) -> BTreeSet<&UserId> {
        let accepted =
            self.grown.invitations.iter().filter_map(|id| self.invitations.get(id)?.user_id.as_ref());
        let joined = self.grown.memberships.iter().filter_map(|id| Some(&self.memberships.get(id)?.user_id));
        let users = self.grown.users.keys().chain(accepted).chain(joined);
        users.filter(|id| self.is_user_deleted(id)).collect()
    }

    /// Whether this batch blanks what was there of somebody whom nobody has named.
    pub(super) fn forgets_nameless(&self) -> bool {
        self.grown.forgets
    }

    /// Invitations that this batch found accepted, by somebody whom nobody has named: nothing would lead from the user,
    /// once deleted, to what the journal says of them.
    pub(super) fn accepted_by_nobody_known(&self) -> BTreeSet<&InvitationId> {
        let grown = self.grown.invitations.iter();
        grown.filter(|id| self.invitations.get(id).is_some_and(is_accepted_by_nobody_known)).collect()
    }

    /// Saves what grew, and asks for every membership of the users who changed. SQLite sees those of this batch there, PostgreSQL
    /// does not; they are in `grown.members` in either case.
    pub(super) fn save<'a>(&'a self, script: &mut Script<'a>) -> Asked {
        let Self { users, organizations, memberships, invitations, grown, .. } = self;
        states::save_users(script, users.iter().filter(|(id, _)| grown.users.contains_key(id)));
        let grown_organizations = organizations.iter().filter(|(id, _)| grown.organizations.contains_key(id));
        states::save_organizations(script, grown_organizations);
        let grown_memberships = memberships.iter().filter(|(id, _)| grown.memberships.contains(id));
        states::save_memberships(
            script,
            grown_memberships,
            |state| self.membership_fell(state),
            |state| self.keys_of(&state.user_id).is_some(),
        );
        let grown_invitations = invitations.iter().filter(|(id, _)| grown.invitations.contains(id));
        states::save_invitations(script, grown_invitations, |state| self.invitation_fell(state));
        let changed_users = grown.users.iter().filter(|(_, growth)| growth.is_seen()).map(|(id, _)| id);
        project::load_members(script, changed_users)
    }

    /// Removes what falls with those that this batch deletes.
    pub(super) fn let_fall<'a>(&'a self, script: &mut Script<'a>) {
        let grown = &self.grown;
        let deleted =
            grown.users.iter().filter(|(id, growth)| !growth.before.deleted && self.is_user_deleted(id));
        let deleted_users: Vec<_> = deleted.map(|(id, _)| id).collect();
        let deleted = (grown.organizations.iter())
            .filter(|(id, growth)| !growth.before.deleted && self.is_organization_deleted(id));
        let deleted_organizations: Vec<_> = deleted.map(|(id, _)| id).collect();
        project::fall_with_users(script, &deleted_users);
        project::fall_with_organizations(script, &deleted_organizations);
    }

    /// Puts on the lists, and takes off them, who belongs there now that all is saved; gives what is touched its
    /// version. `members` are those of all who changed.
    pub(super) async fn project(
        &self,
        db: &mut Connection,
        mut members: BTreeSet<MemberKey>,
    ) -> Result<(Touched, Option<i64>), StoreError> {
        let grown = &self.grown;
        members.extend(grown.members.iter().cloned());
        let organizations = grown.organizations.iter().filter(|(_, growth)| growth.is_seen());
        let organizations = organizations.map(|(id, _)| id.clone()).collect();
        let mut touched = Touched { members, unlisted: BTreeSet::new(), organizations };
        let mut keys = BTreeMap::new();
        for (_, user) in &touched.members {
            keys.entry(user).or_insert_with(|| self.keys_of(user));
        }
        let keys_of = |user: &UserId| keys.get(user).and_then(|keys| keys.as_deref());
        let keys_before = |user: &UserId| match grown.users.get(user) {
            Some(growth) => growth.before.keys.as_ref(),
            None => keys_of(user),
        };
        let age = |keys: &Keys| keys.account_created_at_ms;
        let age_of = |user: &UserId| keys_of(user).map(age);
        let rekeyed = |user: &UserId| keys_before(user) != keys_of(user);
        // By the keys of before: whoever had none was not listed.
        let unlisted = touched.members.iter().filter_map(|member| {
            let age_before = keys_before(&member.1).map(age)?;
            let leaves = grown.ended.contains(member) || age_of(&member.1) != Some(age_before);
            leaves.then_some((member, age_before))
        });
        touched.unlisted = project::unlist(db, unlisted).await?;

        let mut script = Script::default();
        let known = grown.users.keys().filter(|user| keys_before(user).is_none() && keys_of(user).is_some());
        project::make_listable(&mut script, known);
        let listed = (touched.members.iter())
            .filter(|member| grown.members.contains(member) || rekeyed(&member.1))
            .filter_map(|member| Some((member, keys_of(&member.1)?)));
        project::list(&mut script, listed);
        let version = (!touched.is_nothing()).then(|| self.last_version.saturating_add(1));
        if let Some(version) = version {
            script.then();
            versions::bump(&mut script, &touched, version, age_of);
            listener::ring(&mut script, db);
        }
        script.run(db).await?;
        Ok((touched, version))
    }

    /// What decides where a user stands in the lists.
    fn keys_of(&self, user: &UserId) -> Option<Cow<'_, Keys>> {
        match self.users.get(user) {
            Some(state) => Parent::from(state).keys.map(Cow::Owned),
            None => self.keys.get(user).map(Cow::Borrowed),
        }
    }
}

fn is_accepted_by_nobody_known(invitation: &InvitationState) -> bool {
    let known = invitation.known.as_ref();
    invitation.user_id.is_none()
        && known.is_some_and(|known| known.content.status == InvitationStatus::Accepted)
}
