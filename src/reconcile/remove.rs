//! Removes what is confirmed to be gone, as far as the brake allows: a wrong key, or a slip in the dashboard,
//! must not empty the copy.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::gone::Gone;
use super::pass::{Pass, WalkError};
use crate::domain::{Change, Entity, OrganizationId, UserId};

/// Without `ROSTER_RECONCILE_MAX_DELETES`, a pass removes up to this many of an entity, or this share of it.
const FEW: u64 = 10;
const SHARE_PERCENT: u64 = 5;

/// The memberships and the invitations that stand here and fall with their parents.
#[derive(Default)]
struct Falling {
    memberships: BTreeSet<String>,
    invitations: BTreeSet<String>,
}

/// What would go: the objects that are gone themselves, and what falls with them.
struct Toll {
    gone: Gone,
    with_users: Falling,
    with_organizations: Falling,
}

impl Toll {
    /// The objects of an entity that go when those of `refused` stay.
    fn of(&self, entity: Entity, refused: &BTreeSet<Entity>) -> BTreeSet<&str> {
        let kept = |entity: Entity| refused.contains(&entity);
        let mut ids = BTreeSet::new();
        if kept(entity) {
            return ids;
        }
        match entity {
            Entity::Users => ids.extend(self.gone.users.keys().map(UserId::as_str)),
            Entity::Organizations => ids.extend(self.gone.organizations.keys().map(OrganizationId::as_str)),
            Entity::Memberships => ids.extend(self.gone.memberships.keys().map(String::as_str)),
            Entity::Invitations => ids.extend(self.gone.invitations.keys().map(String::as_str)),
        }
        for (parent, falling) in
            [(Entity::Users, &self.with_users), (Entity::Organizations, &self.with_organizations)]
        {
            if !kept(parent) {
                ids.extend(falling.of(entity).map(String::as_str));
            }
        }
        ids
    }

    /// Where children must stay, so must the parents with whom they would fall.
    fn keep_parents(&self, refused: &mut BTreeSet<Entity>) {
        for (parent, falling) in
            [(Entity::Users, &self.with_users), (Entity::Organizations, &self.with_organizations)]
        {
            if refused.iter().any(|child| falling.of(*child).next().is_some()) {
                refused.insert(parent);
            }
        }
    }

    /// What is to be written when those of `refused` stay.
    fn changes(self, refused: &BTreeSet<Entity>) -> Vec<Change> {
        let goes = |entity: Entity| !refused.contains(&entity);
        let Gone { users, organizations, memberships, invitations } = self.gone;
        let mut changes = Vec::new();
        changes.extend(memberships.into_values().filter(|_| goes(Entity::Memberships)));
        changes.extend(invitations.into_values().filter(|_| goes(Entity::Invitations)));
        let users = users.into_iter().filter(|_| goes(Entity::Users));
        changes.extend(users.map(|(id, at_ms)| Change::UserDeleted { id, at_ms }));
        let organizations = organizations.into_iter().filter(|_| goes(Entity::Organizations));
        changes.extend(organizations.map(|(id, at_ms)| Change::OrganizationDeleted { id, at_ms }));
        changes
    }
}

impl Falling {
    fn of(&self, entity: Entity) -> impl Iterator<Item = &String> {
        let ids = match entity {
            Entity::Memberships => Some(&self.memberships),
            Entity::Invitations => Some(&self.invitations),
            Entity::Users | Entity::Organizations => None,
        };
        ids.into_iter().flatten()
    }
}

impl Pass<'_> {
    /// Counts what is gone, asks the brake, and removes.
    pub(super) async fn remove(&mut self, gone: Gone) -> Result<(), WalkError> {
        let users: Vec<_> = gone.users.keys().cloned().collect();
        let organizations: Vec<_> = gone.organizations.keys().cloned().collect();
        let toll = Toll {
            gone,
            with_users: self.falling(&users, &[]).await?,
            with_organizations: self.falling(&[], &organizations).await?,
        };
        let mut refused = BTreeSet::new();
        let mut counts = BTreeMap::new();
        for entity in Entity::ALL {
            let count = toll.of(entity, &BTreeSet::new()).len() as u64;
            counts.insert(entity, count);
            if count > 0 && !self.allow_deletes && count > self.brake(entity).await? {
                refused.insert(entity);
            }
        }
        toll.keep_parents(&mut refused);
        let mut removed = BTreeMap::new();
        for (entity, count) in counts {
            let goes = toll.of(entity, &refused).len() as u64;
            removed.insert(entity, goes);
            let drift = self.drift(entity);
            (drift.gone, drift.refused) = (count, count - goes);
        }
        if !refused.is_empty() {
            warn!(
                users = self.progress.entities.users.refused,
                organizations = self.progress.entities.organizations.refused,
                memberships = self.progress.entities.memberships.refused,
                invitations = self.progress.entities.invitations.refused,
                "more is gone at Clerk than a pass may remove, so nothing of that is removed. If it is right, \
                 run `roster reconcile --allow-deletes`"
            );
        }
        if self.dry.is_none() {
            self.apply(toll.changes(&refused)).await?;
            for (entity, count) in removed {
                self.drift(entity).repaired += count;
            }
        }
        Ok(())
    }

    async fn falling(
        &self,
        users: &[UserId],
        organizations: &[OrganizationId],
    ) -> Result<Falling, WalkError> {
        let (memberships, invitations) = self.store.children(users, organizations).await?;
        Ok(Falling {
            memberships: memberships.into_iter().collect(),
            invitations: invitations.into_iter().collect(),
        })
    }

    /// How many objects of an entity a pass may remove.
    async fn brake(&self, entity: Entity) -> Result<u64, WalkError> {
        match self.max_deletes {
            Some(most) => Ok(most),
            None => Ok(FEW.max(self.store.count(entity).await? * SHARE_PERCENT / 100)),
        }
    }
}
