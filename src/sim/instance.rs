//! One Clerk instance: what is true, and what happens to it.
//!
//! Every action ticks the clock by a millisecond, changes the truth and is recorded as the event that Clerk
//! would send. Seed, clock and key are given, so a test that runs twice sees the same bytes twice.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::event::Event;
use super::keys::SigningKey;
use super::random::Random;
use super::shapes::{self, NewUser, Object, UserIds, moment, text};

/// The instance has no such object (any more).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the simulated instance has no `{0}`")]
pub struct NoSuchObject(pub String);

/// An instance, its objects and its history. The `kid` of its key is its id, as with Clerk.
#[derive(Debug)]
pub struct Instance {
    pub(super) key: SigningKey,
    pub(super) issuer: String,
    pub(super) random: Random,
    pub(super) now_ms: i64,
    pub(super) users: BTreeMap<String, Object>,
    pub(super) organizations: BTreeMap<String, Object>,
    pub(super) memberships: BTreeMap<String, Object>,
    pub(super) invitations: BTreeMap<String, Object>,
    /// Ids are never used again.
    pub(super) deleted: BTreeSet<String>,
    /// When what is known of an object was observed, for objects that came in as events.
    pub(super) observed_ms: BTreeMap<String, i64>,
    events: Vec<Event>,
    /// Counts the changes, so that what was worked out from the objects is known to be old.
    pub(super) revision: u64,
}

impl Instance {
    /// An empty instance.
    pub fn new(key: SigningKey, seed: u64, now_ms: i64) -> Self {
        Self {
            key,
            issuer: "https://clerk.example.com".to_owned(),
            random: Random::new(seed),
            now_ms,
            users: BTreeMap::new(),
            organizations: BTreeMap::new(),
            memberships: BTreeMap::new(),
            invitations: BTreeMap::new(),
            deleted: BTreeSet::new(),
            observed_ms: BTreeMap::new(),
            events: Vec::new(),
            revision: 0,
        }
    }

    /// `ins_…`
    pub fn id(&self) -> &str {
        self.key.kid()
    }

    /// What time it is at Clerk.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Lets time pass.
    pub fn advance(&mut self, by_ms: i64) {
        self.now_ms += by_ms;
    }

    /// Moves the time on to this moment; it never goes back.
    pub fn catch_up(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    /// Everything that happened, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Everything that happened since this was last asked.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The users, by id.
    pub fn users(&self) -> impl Iterator<Item = &Object> {
        self.users.values()
    }

    /// One user.
    pub fn user(&self, id: &str) -> Result<&Object, NoSuchObject> {
        found(&self.users, id)
    }

    /// One organization, with its counts.
    pub fn organization(&self, id: &str) -> Result<Object, NoSuchObject> {
        let mut organization = found(&self.organizations, id)?.clone();
        let members = self.memberships.values().filter(|one| organization_of(one) == id).count();
        let invited = |one: &&Object| text(one, "organization_id") == id && text(one, "status") == "pending";
        let pending = self.invitations.values().filter(invited).count();
        organization.insert("members_count".to_owned(), members.into());
        organization.insert("pending_invitations_count".to_owned(), pending.into());
        Ok(organization)
    }

    /// The organizations, by id.
    pub fn organization_ids(&self) -> impl Iterator<Item = &str> {
        self.organizations.keys().map(String::as_str)
    }

    /// One membership, with its organization and its user as they are now.
    pub fn membership(&self, id: &str) -> Result<Object, NoSuchObject> {
        let mut membership = found(&self.memberships, id)?.clone();
        // Where an event named an organization or a user of which no other event tells, its word stays.
        if let Ok(organization) = self.organization(organization_of(&membership)) {
            membership.insert("organization".to_owned(), organization.into());
        }
        if let Ok(user) = self.user(user_of(&membership)) {
            membership.insert("public_user_data".to_owned(), shapes::public_user_data(user));
        }
        Ok(membership)
    }

    /// The memberships of an organization, oldest first.
    pub fn memberships_of(&self, organization_id: &str) -> Vec<Object> {
        let ids = self.memberships.iter().filter(|(_, one)| organization_of(one) == organization_id);
        let mut members: Vec<_> = ids.filter_map(|(id, _)| self.membership(id).ok()).collect();
        members.sort_by_key(|one| (moment(one, "created_at"), text(one, "id").to_owned()));
        members
    }

    /// The id of a user's membership in an organization.
    pub fn membership_id(&self, user_id: &str, organization_id: &str) -> Result<String, NoSuchObject> {
        let place = (user_id, organization_id);
        let mut memberships = self.memberships.iter();
        let membership = memberships.find(|(_, one)| (user_of(one), organization_of(one)) == place);
        let id = membership.map(|(id, _)| id.clone());
        id.ok_or_else(|| NoSuchObject(format!("membership of {user_id} in {organization_id}")))
    }

    /// One invitation.
    pub fn invitation(&self, id: &str) -> Result<&Object, NoSuchObject> {
        found(&self.invitations, id)
    }

    /// `user.created`
    pub fn create_user(&mut self, new: NewUser) -> Event {
        let at_ms = self.tick();
        let ids = UserIds {
            user: self.random.id("user", at_ms),
            email: self.random.id("idn", at_ms),
            phone: self.random.id("idn", at_ms),
            last_digits: self.random.below(10_000),
        };
        let user = shapes::user(self.key.kid(), &ids, new, at_ms);
        self.users.insert(ids.user, user.clone());
        self.record("user.created", &user)
    }

    /// `user.updated`: sets fields, by Clerk's names.
    pub fn update_user(&mut self, id: &str, fields: Object) -> Result<Event, NoSuchObject> {
        let at_ms = self.tick();
        let user = found_mut(&mut self.users, id)?;
        user.extend(fields);
        user.insert("updated_at".to_owned(), at_ms.into());
        let user = user.clone();
        Ok(self.record("user.updated", &user))
    }

    /// `user.updated`: adds an address and makes it the primary one; the old ones stay.
    pub fn change_email(&mut self, id: &str, address: &str) -> Result<Event, NoSuchObject> {
        let email_id = self.random.id("idn", self.now_ms);
        let known = self.user(id)?.get("email_addresses").and_then(Value::as_array);
        let mut addresses = known.cloned().unwrap_or_default();
        addresses.push(shapes::email_address(&email_id, address, self.now_ms));
        let fields =
            [("email_addresses", Value::from(addresses)), ("primary_email_address_id", email_id.into())];
        self.update_user(id, fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }

    /// `user.updated`: the user cannot sign in any more.
    pub fn ban(&mut self, id: &str) -> Result<Event, NoSuchObject> {
        self.update_user(id, [("banned".to_owned(), true.into())].into_iter().collect())
    }

    /// `user.deleted`. The memberships and accepted invitations go with the user and have no events.
    pub fn delete_user(&mut self, id: &str) -> Result<Event, NoSuchObject> {
        let user = self.user(id)?.clone();
        self.tick();
        self.forget_user(id);
        Ok(self.record("user.deleted", &shapes::deleted("user", &user)))
    }

    /// `session.created`, in an organization or none. The sign-in does not count as an update of the user.
    pub fn sign_in(&mut self, id: &str, organization_id: Option<&str>) -> Result<Event, NoSuchObject> {
        const DAY_MS: i64 = 24 * 3_600_000;
        let at_ms = self.tick();
        let ids = ["sess", "client", "activity"].map(|prefix| self.random.id(prefix, at_ms));
        let user = found_mut(&mut self.users, id)?;
        user.insert("last_sign_in_at".to_owned(), at_ms.into());
        user.insert("last_active_at".to_owned(), (at_ms - at_ms.rem_euclid(DAY_MS)).into());
        let [session, client, activity] = &ids;
        let session = shapes::session((session, client, activity), user, organization_id, at_ms);
        Ok(self.record("session.created", &session))
    }

    /// `organization.created`. Its creator joins by [`Self::join`].
    pub fn create_organization(&mut self, name: &str, created_by: Option<&str>) -> Event {
        let at_ms = self.tick();
        let id = self.random.id("org", at_ms);
        let organization = shapes::organization(self.key.kid(), &id, name, created_by, at_ms);
        self.organizations.insert(id, organization.clone());
        self.record("organization.created", &organization)
    }

    /// `organization.updated`: sets fields, by Clerk's names.
    pub fn update_organization(&mut self, id: &str, fields: Object) -> Result<Event, NoSuchObject> {
        let at_ms = self.tick();
        let organization = found_mut(&mut self.organizations, id)?;
        organization.extend(fields);
        organization.insert("updated_at".to_owned(), at_ms.into());
        let organization = self.organization(id)?;
        Ok(self.record("organization.updated", &organization))
    }

    /// `organization.deleted`. Its memberships and invitations go with it and have no events.
    pub fn delete_organization(&mut self, id: &str) -> Result<Event, NoSuchObject> {
        let organization = self.organization(id)?;
        self.tick();
        self.forget_organization(id);
        Ok(self.record("organization.deleted", &shapes::deleted("organization", &organization)))
    }

    /// `organizationMembership.created`; a rejoin has a new id. Joining twice is two memberships, as a rejoin
    /// is to whoever has not heard of the leaving.
    pub fn join(
        &mut self,
        user_id: &str,
        organization_id: &str,
        role: &str,
        public_metadata: &Object,
    ) -> Result<Event, NoSuchObject> {
        let organization = found(&self.organizations, organization_id)?.clone();
        let user = shapes::public_user_data(self.user(user_id)?);
        let at_ms = self.tick();
        let id = self.random.id("orgmem", at_ms);
        let mut membership = shapes::membership(&id, role, public_metadata, at_ms);
        membership.insert("organization".to_owned(), organization.into());
        membership.insert("public_user_data".to_owned(), user);
        self.memberships.insert(id.clone(), membership);
        let membership = self.membership(&id)?;
        Ok(self.record("organizationMembership.created", &membership))
    }

    /// `organizationMembership.updated`: another role.
    pub fn change_role(&mut self, membership_id: &str, role: &str) -> Result<Event, NoSuchObject> {
        let permissions = Value::from(shapes::permissions(role).to_vec());
        let fields = [
            ("role", role.into()),
            ("role_name", shapes::role_name(role).into()),
            ("permissions", permissions),
        ];
        let fields =
            fields.map(|(name, value): (&str, Value)| (name.to_owned(), value)).into_iter().collect();
        self.update_membership(membership_id, fields)
    }

    /// `organizationMembership.updated`: sets fields, by Clerk's names.
    pub fn update_membership(&mut self, id: &str, fields: Object) -> Result<Event, NoSuchObject> {
        let at_ms = self.tick();
        let membership = found_mut(&mut self.memberships, id)?;
        membership.extend(fields);
        membership.insert("updated_at".to_owned(), at_ms.into());
        let membership = self.membership(id)?;
        Ok(self.record("organizationMembership.updated", &membership))
    }

    /// `organizationMembership.deleted`: the whole membership once more, with its old `updated_at`.
    pub fn leave(&mut self, membership_id: &str) -> Result<Event, NoSuchObject> {
        let membership = self.membership(membership_id)?;
        self.tick();
        self.memberships.remove(membership_id);
        self.deleted.insert(membership_id.to_owned());
        Ok(self.record("organizationMembership.deleted", &membership))
    }

    /// `organizationInvitation.created`
    pub fn invite(
        &mut self,
        organization_id: &str,
        email: &str,
        role: &str,
        inviter_id: Option<&str>,
    ) -> Result<Event, NoSuchObject> {
        found(&self.organizations, organization_id)?;
        let inviter = inviter_id.map(|id| self.user(id)).transpose()?.cloned();
        let at_ms = self.tick();
        let id = self.random.id("orginv", at_ms);
        let place = (organization_id, email, role);
        let invitation = shapes::invitation(&id, place, inviter.as_ref(), &self.issuer, at_ms);
        self.invitations.insert(id, invitation.clone());
        Ok(self.record("organizationInvitation.created", &invitation))
    }

    /// `organizationInvitation.accepted`, then `organizationMembership.created`: the invitation's public
    /// metadata moves to the membership.
    pub fn accept(&mut self, invitation_id: &str, user_id: &str) -> Result<[Event; 2], NoSuchObject> {
        self.user(user_id)?;
        let accepted = self.answer(invitation_id, "accepted", Some(user_id))?;
        let invitation = self.invitation(invitation_id)?;
        let metadata =
            invitation.get("public_metadata").and_then(Value::as_object).cloned().unwrap_or_default();
        let (organization_id, role) = (text(invitation, "organization_id"), text(invitation, "role"));
        let (organization_id, role) = (organization_id.to_owned(), role.to_owned());
        let joined = self.join(user_id, &organization_id, &role, &metadata)?;
        Ok([accepted, joined])
    }

    /// `organizationInvitation.revoked`
    pub fn revoke(&mut self, invitation_id: &str) -> Result<Event, NoSuchObject> {
        self.answer(invitation_id, "revoked", None)
    }

    fn answer(&mut self, id: &str, status: &str, user_id: Option<&str>) -> Result<Event, NoSuchObject> {
        let at_ms = self.tick();
        let invitation = found_mut(&mut self.invitations, id)?;
        invitation.insert("status".to_owned(), status.into());
        invitation.insert("updated_at".to_owned(), at_ms.into());
        if let Some(user_id) = user_id {
            invitation.insert("user_id".to_owned(), user_id.into());
        }
        let mut shown = invitation.clone();
        if let Ok(organization) = self.organization(text(&shown, "organization_id")) {
            let organization = shapes::public_organization_data(&organization);
            shown.insert("data".to_owned(), serde_json::json!({ "public_organization_data": organization }));
        }
        Ok(self.record(&format!("organizationInvitation.{status}"), &shown))
    }

    pub(super) fn forget_user(&mut self, id: &str) {
        self.users.remove(id);
        self.deleted.insert(id.to_owned());
        self.memberships.retain(|_, one| user_of(one) != id);
        self.invitations.retain(|_, one| text(one, "user_id") != id);
    }

    pub(super) fn forget_organization(&mut self, id: &str) {
        self.organizations.remove(id);
        self.deleted.insert(id.to_owned());
        self.memberships.retain(|_, one| organization_of(one) != id);
        self.invitations.retain(|_, one| text(one, "organization_id") != id);
    }

    fn tick(&mut self) -> i64 {
        self.now_ms += 1;
        self.revision += 1;
        self.now_ms
    }

    fn record(&mut self, event_type: &str, data: &Object) -> Event {
        let message_id = self.random.id("msg", self.now_ms);
        let event = Event::new(message_id, event_type, self.key.kid(), self.now_ms, data);
        self.events.push(event.clone());
        event
    }
}

fn found<'a>(objects: &'a BTreeMap<String, Object>, id: &str) -> Result<&'a Object, NoSuchObject> {
    objects.get(id).ok_or_else(|| NoSuchObject(id.to_owned()))
}

fn found_mut<'a>(
    objects: &'a mut BTreeMap<String, Object>,
    id: &str,
) -> Result<&'a mut Object, NoSuchObject> {
    objects.get_mut(id).ok_or_else(|| NoSuchObject(id.to_owned()))
}

/// The organization that a membership is in.
pub fn organization_of(membership: &Object) -> &str {
    inner_id(membership, "organization", "id")
}

/// The user whom a membership is of.
pub fn user_of(membership: &Object) -> &str {
    inner_id(membership, "public_user_data", "user_id")
}

fn inner_id<'a>(object: &'a Object, field: &str, id: &str) -> &'a str {
    object.get(field).and_then(|inner| inner.get(id)).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
#[path = "instance_tests.rs"]
mod tests;
