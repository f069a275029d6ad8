//! What is gone: objects that stand here and that a whole walk has not shown.
//!
//! Each is asked for. Only Clerk's answer that it does not exist counts; every other answer, and every
//! error, leaves it alone. Then the brake is asked: a wrong key, or a slip in the dashboard, must not empty
//! the copy.

use std::collections::{BTreeMap, HashSet};

use tracing::{debug, warn};

use super::pass::{Pass, WalkError};
use super::progress::Stage;
use crate::clerk::backend_api::{ApiError, MAX_IDS};
use crate::domain::{Change, Entity, InvitationId, MembershipId, OrganizationId, UserId};
use crate::store::Unseen;

/// How many objects are looked at for each statement.
const ROWS: i64 = 1_000;
/// Without `ROSTER_RECONCILE_MAX_DELETES`, a pass removes up to this many of an entity, or this share of it.
const FEW: u64 = 10;
const SHARE_PERCENT: u64 = 5;

/// What Clerk has confirmed to be gone.
#[derive(Default)]
struct Gone {
    users: Vec<(UserId, i64)>,
    organizations: Vec<(OrganizationId, i64)>,
    memberships: Vec<(String, Change)>,
    invitations: Vec<(String, Change)>,
}

impl Gone {
    fn has_user(&self, id: &str) -> bool {
        self.users.iter().any(|(gone, _)| gone.as_str() == id)
    }

    fn has_organization(&self, id: &str) -> bool {
        self.organizations.iter().any(|(gone, _)| gone.as_str() == id)
    }
}

impl Pass<'_> {
    /// Finds what is gone, and removes it as far as the brake allows. True when it refused something.
    pub(super) async fn remove_gone(&mut self) -> Result<bool, WalkError> {
        let mut gone = Gone::default();
        self.gone_users(&mut gone).await?;
        self.gone_organizations(&mut gone).await?;
        self.gone_memberships(&mut gone).await?;
        self.gone_invitations(&mut gone).await?;
        let braked = self.remove(gone).await?;
        self.progress.stage = Stage::Done;
        Ok(braked)
    }

    /// What stands here, and was not shown since the walk began.
    async fn unseen(&self, entity: Entity) -> Result<Vec<Unseen>, WalkError> {
        let mut unseen = Vec::new();
        let mut after = String::new();
        if self.progress.off.contains(&entity) {
            return Ok(unseen);
        }
        loop {
            let rows = self.store.unseen(entity, self.progress.started_at_ms, &after, ROWS).await?;
            let Some(last) = rows.last() else { return Ok(unseen) };
            after.clone_from(&last.id);
            let is_seen =
                |row: &Unseen| self.dry.as_ref().is_some_and(|seen| seen.contains(&(entity, row.id.clone())));
            unseen.extend(rows.into_iter().filter(|row| !is_seen(row)));
        }
    }

    async fn gone_users(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let unseen = self.unseen(Entity::Users).await?;
        let ids: Vec<_> = unseen.into_iter().filter_map(|row| UserId::parse(row.id).ok()).collect();
        for batch in ids.chunks(MAX_IDS) {
            let shown = self.ask(self.api.users_by_ids(batch)).await?.value;
            let there: HashSet<String> = shown
                .changes
                .iter()
                .filter_map(super::diff::id)
                .map(str::to_owned)
                .chain(shown.unusable_ids.iter().cloned())
                .collect();
            self.take(Entity::Users, shown.changes).await?;
            for id in batch.iter().filter(|id| !there.contains(id.as_str())) {
                match self.confirm(self.api.user(id)).await? {
                    Confirmed::Gone { at_ms } => gone.users.push((id.clone(), at_ms)),
                    Confirmed::There(change) => self.take(Entity::Users, vec![*change]).await?,
                    Confirmed::Unknown => {}
                }
            }
        }
        Ok(())
    }

    async fn gone_organizations(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let unseen = self.unseen(Entity::Organizations).await?;
        for id in unseen.into_iter().filter_map(|row| OrganizationId::parse(row.id).ok()) {
            match self.confirm(self.api.organization(&id)).await? {
                Confirmed::Gone { at_ms } => gone.organizations.push((id, at_ms)),
                Confirmed::There(change) => self.take(Entity::Organizations, vec![*change]).await?,
                Confirmed::Unknown => {}
            }
        }
        Ok(())
    }

    /// There is no call for one membership: the members of its organization are asked for by user.
    async fn gone_memberships(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let mut by_organization: BTreeMap<OrganizationId, Vec<(MembershipId, UserId, i64)>> = BTreeMap::new();
        for row in self.unseen(Entity::Memberships).await? {
            let Unseen { id, organization_id: Some(organization), user_id: Some(user), created_at_ms } = row
            else {
                continue;
            };
            if gone.has_user(&user) || gone.has_organization(&organization) {
                continue;
            }
            if let (Ok(id), Ok(organization), Ok(user)) =
                (MembershipId::parse(id), OrganizationId::parse(organization), UserId::parse(user))
            {
                by_organization.entry(organization).or_default().push((id, user, created_at_ms));
            }
        }
        for (organization_id, members) in by_organization {
            for batch in members.chunks(MAX_IDS) {
                let users: Vec<_> = batch.iter().map(|(_, user, _)| user.clone()).collect();
                let call = self.api.organization_memberships_of(&organization_id, &users);
                let shown = match self.ask(call).await {
                    Err(WalkError::Clerk(
                        error @ (ApiError::FeatureOff { .. } | ApiError::Refused { .. }),
                    )) => {
                        debug!(%organization_id, %error, "memberships cannot be confirmed");
                        continue;
                    }
                    shown => shown?,
                };
                let at_ms = shown.observed_at_ms;
                // A page that is cut short proves nothing.
                let whole = shown.value.total_count.is_some_and(|total| total == shown.value.received as u64);
                let there: HashSet<String> = shown
                    .value
                    .changes
                    .iter()
                    .filter_map(super::diff::id)
                    .map(str::to_owned)
                    .chain(shown.value.unusable_ids.iter().cloned())
                    .collect();
                self.take(Entity::Memberships, shown.value.changes).await?;
                for (id, user_id, created_at_ms) in batch.iter().filter(|_| whole) {
                    if there.contains(id.as_str()) {
                        continue;
                    }
                    let change = Change::MembershipDeleted {
                        id: id.clone(),
                        organization_id: organization_id.clone(),
                        user_id: user_id.clone(),
                        created_at_ms: Some(*created_at_ms),
                        at_ms,
                    };
                    gone.memberships.push((id.as_str().to_owned(), change));
                }
            }
        }
        Ok(())
    }

    async fn gone_invitations(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        for row in self.unseen(Entity::Invitations).await? {
            let Some(organization) = row.organization_id else { continue };
            let falls =
                gone.has_organization(&organization) || row.user_id.is_some_and(|user| gone.has_user(&user));
            let (Ok(id), Ok(organization)) =
                (InvitationId::parse(row.id), OrganizationId::parse(organization))
            else {
                continue;
            };
            if falls {
                continue;
            }
            match self.confirm(self.api.invitation(&organization, &id)).await? {
                Confirmed::Gone { at_ms } => {
                    let text = id.as_str().to_owned();
                    gone.invitations.push((text, Change::InvitationDeleted { id, at_ms }));
                }
                Confirmed::There(change) => self.take(Entity::Invitations, vec![*change]).await?,
                Confirmed::Unknown => {}
            }
        }
        Ok(())
    }

    /// Asks for one object. A refusal that is not "not there" says nothing about it.
    async fn confirm(
        &self,
        call: impl Future<Output = Result<crate::clerk::backend_api::Fetched<Option<Change>>, ApiError>>,
    ) -> Result<Confirmed, WalkError> {
        match self.ask(call).await {
            Ok(answer) => Ok(match answer.value {
                Some(change) => Confirmed::There(Box::new(change)),
                None => Confirmed::Gone { at_ms: answer.observed_at_ms },
            }),
            Err(WalkError::Clerk(
                error @ (ApiError::FeatureOff { .. } | ApiError::Refused { .. } | ApiError::Garbage { .. }),
            )) => {
                debug!(%error, "an object cannot be confirmed");
                Ok(Confirmed::Unknown)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts what is gone, asks the brake, and removes. True when the brake refused something.
    async fn remove(&mut self, gone: Gone) -> Result<bool, WalkError> {
        let users: Vec<_> = gone.users.iter().map(|(id, _)| id.clone()).collect();
        let organizations: Vec<_> = gone.organizations.iter().map(|(id, _)| id.clone()).collect();
        let (falling_memberships, falling_invitations) = self.store.children(&users, &organizations).await?;
        let memberships: HashSet<&str> = gone
            .memberships
            .iter()
            .map(|(id, _)| id.as_str())
            .chain(falling_memberships.iter().map(String::as_str))
            .collect();
        let invitations: HashSet<&str> = gone
            .invitations
            .iter()
            .map(|(id, _)| id.as_str())
            .chain(falling_invitations.iter().map(String::as_str))
            .collect();
        let counts = [
            (Entity::Users, users.len() as u64),
            (Entity::Organizations, organizations.len() as u64),
            (Entity::Memberships, memberships.len() as u64),
            (Entity::Invitations, invitations.len() as u64),
        ];
        let mut refused = HashSet::new();
        for (entity, count) in counts {
            self.drift(entity).gone = count;
            if count > 0 && !self.allow_deletes && count > self.brake(entity).await? {
                refused.insert(entity);
            }
        }
        // What falls with a parent is of its own entity; where that one is braked, the parent must stay too.
        if (refused.contains(&Entity::Memberships) && !falling_memberships.is_empty())
            || (refused.contains(&Entity::Invitations) && !falling_invitations.is_empty())
        {
            refused.extend([Entity::Users, Entity::Organizations]);
        }
        // And where the parents stay, so does what would have fallen with them.
        let parents_stay = refused.contains(&Entity::Users) || refused.contains(&Entity::Organizations);
        let mut removed = Vec::new();
        for (entity, count) in counts {
            let falling = match entity {
                Entity::Memberships if parents_stay => falling_memberships.len() as u64,
                Entity::Invitations if parents_stay => falling_invitations.len() as u64,
                _ => 0,
            };
            let kept = if refused.contains(&entity) { count } else { falling };
            let drift = self.drift(entity);
            drift.refused = kept;
            if self.dry.is_none() {
                removed.push((entity, count - kept));
            }
        }
        if !refused.is_empty() {
            warn!(
                users = self.progress.entities.users.refused,
                organizations = self.progress.entities.organizations.refused,
                memberships = self.progress.entities.memberships.refused,
                invitations = self.progress.entities.invitations.refused,
                "more is gone at Clerk than a pass may remove; nothing of it was. If it is right, run \
                 `roster reconcile --allow-deletes`"
            );
        }
        if self.dry.is_none() {
            let mut changes = Vec::new();
            if !refused.contains(&Entity::Memberships) {
                changes.extend(gone.memberships.into_iter().map(|(_, change)| change));
            }
            if !refused.contains(&Entity::Invitations) {
                changes.extend(gone.invitations.into_iter().map(|(_, change)| change));
            }
            if !refused.contains(&Entity::Users) {
                changes.extend(gone.users.into_iter().map(|(id, at_ms)| Change::UserDeleted { id, at_ms }));
            }
            if !refused.contains(&Entity::Organizations) {
                let gone = gone.organizations.into_iter();
                changes.extend(gone.map(|(id, at_ms)| Change::OrganizationDeleted { id, at_ms }));
            }
            self.apply(changes).await?;
            for (entity, count) in removed {
                self.drift(entity).repaired += count;
            }
        }
        Ok(!refused.is_empty())
    }

    /// How many objects of an entity a pass may remove.
    async fn brake(&self, entity: Entity) -> Result<u64, WalkError> {
        match self.max_deletes {
            Some(most) => Ok(most),
            None => Ok(FEW.max(self.store.count(entity).await? * SHARE_PERCENT / 100)),
        }
    }
}

/// What Clerk says of one object.
enum Confirmed {
    /// It is not there.
    Gone {
        /// By Clerk's clock.
        at_ms: i64,
    },
    /// It is there, like this.
    There(Box<Change>),
    /// Nothing that can be relied on.
    Unknown,
}
