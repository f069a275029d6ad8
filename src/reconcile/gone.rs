//! What is gone: objects that stand here and that a whole walk has not shown.
//!
//! Each is asked for. Only Clerk's answer that it does not exist counts; every other answer, and every
//! error, leaves it alone. What is then confirmed goes to the brake (`remove`).

use std::collections::{BTreeMap, BTreeSet, HashSet};

use tracing::{debug, info, warn};

use super::pass::{Pass, WalkError};
use super::progress::Stage;
use crate::clerk::backend_api::{ApiError, Fetched, MAX_IDS, Order, Page};
use crate::domain::StoredState;
use crate::domain::difference;
use crate::domain::{Change, Entity, InvitationId, MembershipId, OrganizationId, UserId};
use crate::store::Unseen;

/// How many objects are looked at for each statement.
const ROWS: i64 = 1_000;
/// How many rows of an entity are remembered from the second in which a pass begins.
const SUSPECTS: i64 = 2_000;
/// How many members who are there are asked for before lists are believed that others are not.
const WITNESSES: i64 = 3;

/// What Clerk has confirmed to be gone, with the moments at which it said so, by its clock.
#[derive(Default)]
pub(super) struct Gone {
    pub(super) users: BTreeMap<UserId, i64>,
    pub(super) organizations: BTreeMap<OrganizationId, i64>,
    pub(super) memberships: BTreeMap<String, Change>,
    pub(super) invitations: BTreeMap<String, Change>,
}

impl Pass<'_> {
    /// Finds what is gone, and removes it as far as the brake allows.
    pub(super) async fn remove_gone(&mut self) -> Result<(), WalkError> {
        let mut gone = Gone::default();
        self.gone_users(&mut gone).await?;
        self.gone_organizations(&mut gone).await?;
        self.gone_memberships(&mut gone).await?;
        self.gone_invitations(&mut gone).await?;
        self.look_again(&mut gone).await?;
        self.remove(gone).await?;
        self.progress.suspects.clear();
        self.progress.stage = Stage::Done;
        Ok(())
    }

    /// Rows from the second in which the pass begins: an event may have brought them before it began.
    pub(super) async fn suspect(&mut self) -> Result<(), WalkError> {
        self.progress.suspects.clear();
        for entity in Entity::ALL {
            let since_ms = self.progress.started_at_ms..i64::MAX;
            let rows = self.store.unseen(entity, since_ms, "", SUSPECTS).await?;
            self.progress.suspects.extend(rows.into_iter().map(|row| (entity, row)));
        }
        Ok(())
    }

    /// What stands here, and was not shown since the walk began.
    async fn unseen(&self, entity: Entity) -> Result<Vec<Unseen>, WalkError> {
        if self.progress.off.contains(&entity) {
            return Ok(Vec::new());
        }
        let mut unseen: BTreeMap<String, Unseen> = BTreeMap::new();
        let suspects = self.progress.suspects.iter().filter(|(of, _)| *of == entity);
        unseen.extend(suspects.map(|(_, row)| (row.id.clone(), row.clone())));
        let mut after = String::new();
        loop {
            let earlier_ms = i64::MIN..self.progress.started_at_ms;
            let rows = self.store.unseen(entity, earlier_ms, &after, ROWS).await?;
            let Some(last) = rows.last() else { break };
            after.clone_from(&last.id);
            unseen.extend(rows.into_iter().map(|row| (row.id.clone(), row)));
        }
        let is_seen =
            |row: &Unseen| self.dry.as_ref().is_some_and(|seen| seen.contains(&(entity, row.id.clone())));
        Ok(unseen.into_values().filter(|row| !is_seen(row)).collect())
    }

    /// A feature that was switched off meanwhile answers for each of its objects as if the object were gone. So the lists
    /// themselves are asked for again, and what is on one that is not there stays.
    async fn look_again(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        if !gone.users.is_empty() {
            self.ask(self.api.users_count()).await?;
        }
        if gone.organizations.is_empty() && gone.memberships.is_empty() && gone.invitations.is_empty() {
            return Ok(());
        }
        match self.ask(self.api.organizations_page(1, 0, Order::OldestFirst)).await {
            Ok(_) => {}
            Err(WalkError::Clerk(error @ ApiError::FeatureOff { .. })) => {
                info!(%error, "nothing is concluded");
                gone.organizations.clear();
                gone.memberships.clear();
                gone.invitations.clear();
            }
            Err(error) => return Err(error),
        }
        if self.dry.is_none() && !gone.memberships.is_empty() {
            self.doubt_members_lists(gone).await?;
        }
        Ok(())
    }

    /// Memberships cannot be asked for one by one, so a broken list would end all of them. A list that works still shows
    /// some whom the walk has just shown, the witnesses; where they are gone too, or there are none, it is as long as
    /// Clerk counts.
    async fn doubt_members_lists(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let since_ms = self.progress.started_at_ms..i64::MAX;
        let witnesses = self.store.unseen(Entity::Memberships, since_ms, "", WITNESSES).await?;
        for Unseen { id, organization_id, user_id, .. } in &witnesses {
            let (Some(Ok(organization_id)), Some(Ok(user_id))) = (
                organization_id.as_deref().map(OrganizationId::parse),
                user_id.as_deref().map(UserId::parse),
            ) else {
                continue;
            };
            let users = [user_id];
            let call = self.api.organization_memberships_of(&organization_id, &users);
            let shown = self.said(call).await?.map(|page| page.value.changes).unwrap_or_default();
            if shown.iter().any(|change| difference::id(change) == Some(id.as_str())) {
                return Ok(());
            }
        }
        let mut whole = HashSet::new();
        let organizations = gone.memberships.values().filter_map(organization_of);
        for id in organizations.cloned().collect::<BTreeSet<_>>() {
            let is_whole = match self.said(self.api.organization_memberships_page(&id, 1, 0)).await? {
                Some(list) => self.shows_all(&id, &list.value).await?,
                // Then they were concluded from that.
                None => matches!(self.confirm(self.api.organization(&id)).await?, Confirmed::Gone { .. }),
            };
            if is_whole {
                whole.insert(id);
            }
        }
        let before = gone.memberships.len();
        gone.memberships.retain(|_, change| organization_of(change).is_some_and(|id| whole.contains(id)));
        let kept = before - gone.memberships.len();
        if kept > 0 {
            warn!(kept, "Clerk's lists of members do not show those who are there; nothing is concluded");
        }
        Ok(())
    }

    /// Whether the members of an organization are as many as Clerk counts, and can be asked for; `list` begins with one.
    async fn shows_all(&self, organization_id: &OrganizationId, list: &Page) -> Result<bool, WalkError> {
        let count = self.said(self.api.members_count(organization_id)).await?.and_then(|count| count.value);
        if count.is_none() || count != list.total_count {
            return Ok(false);
        }
        let Some(Change::Membership(member)) = list.changes.first() else { return Ok(count == Some(0)) };
        let users = std::slice::from_ref(&member.content.user_id);
        let asked_for = self.said(self.api.organization_memberships_of(organization_id, users)).await?;
        Ok(asked_for.is_some_and(|asked_for| asked_for.value.received > 0))
    }

    /// What Clerk says; `None` when that is nothing that can be relied on.
    async fn said<T>(
        &self,
        call: impl Future<Output = Result<Fetched<T>, ApiError>>,
    ) -> Result<Option<Fetched<T>>, WalkError> {
        match self.ask(call).await {
            Ok(answer) => Ok(Some(answer)),
            Err(WalkError::Clerk(
                error @ (ApiError::FeatureOff { .. } | ApiError::Refused { .. } | ApiError::Garbage { .. }),
            )) => {
                debug!(%error, "something cannot be confirmed");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn gone_users(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let unseen = self.unseen(Entity::Users).await?;
        let ids: Vec<_> = unseen.into_iter().filter_map(|row| UserId::parse(&row.id).ok()).collect();
        for batch in ids.chunks(MAX_IDS) {
            let shown = self.ask(self.api.users_by_ids(batch)).await?.value;
            let there: HashSet<String> = shown
                .changes
                .iter()
                .filter_map(difference::id)
                .map(str::to_owned)
                .chain(shown.unusable_ids.iter().cloned())
                .collect();
            self.take(Entity::Users, shown.changes).await?;
            for id in batch.iter().filter(|id| !there.contains(id.as_str())) {
                match self.confirm(self.api.user(id)).await? {
                    Confirmed::Gone { at_ms } => _ = gone.users.insert(id.clone(), at_ms),
                    Confirmed::There(change) => self.take(Entity::Users, vec![*change]).await?,
                    Confirmed::Unknown => {}
                }
            }
        }
        Ok(())
    }

    async fn gone_organizations(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        let unseen = self.unseen(Entity::Organizations).await?;
        for id in unseen.into_iter().filter_map(|row| OrganizationId::parse(&row.id).ok()) {
            match self.confirm(self.api.organization(&id)).await? {
                Confirmed::Gone { at_ms } => _ = gone.organizations.insert(id, at_ms),
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
            if let (Ok(id), Ok(organization), Ok(user)) =
                (MembershipId::parse(&id), OrganizationId::parse(&organization), UserId::parse(&user))
                && !gone.users.contains_key(&user)
                && !gone.organizations.contains_key(&organization)
            {
                by_organization.entry(organization).or_default().push((id, user, created_at_ms));
            }
        }
        for (organization_id, members) in by_organization {
            for batch in members.chunks(MAX_IDS) {
                if gone.organizations.contains_key(&organization_id) {
                    break;
                }
                let users: Vec<_> = batch.iter().map(|(_, user, _)| user.clone()).collect();
                let call = self.api.organization_memberships_of(&organization_id, &users);
                let shown = match self.ask(call).await {
                    Err(WalkError::Clerk(
                        error @ (ApiError::FeatureOff { .. } | ApiError::Refused { .. }),
                    )) => {
                        debug!(%organization_id, %error, "memberships cannot be asked for");
                        self.without_organization(&organization_id, batch, gone).await?;
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
                    .filter_map(difference::id)
                    .map(str::to_owned)
                    .chain(shown.value.unusable_ids.iter().cloned())
                    .collect();
                self.take(Entity::Memberships, shown.value.changes).await?;
                for (id, user_id, created_at_ms) in batch.iter().filter(|_| whole) {
                    if there.contains(id.as_str()) {
                        continue;
                    }
                    let change = membership_deleted((id, user_id, *created_at_ms), &organization_id, at_ms);
                    gone.memberships.insert(id.as_str().to_owned(), change);
                }
            }
        }
        Ok(())
    }

    /// Memberships of an organization that Clerk may not have any more, and that may never have been known here.
    async fn without_organization(
        &mut self,
        organization_id: &OrganizationId,
        memberships: &[(MembershipId, UserId, i64)],
        gone: &mut Gone,
    ) -> Result<(), WalkError> {
        let at_ms = match self.confirm(self.api.organization(organization_id)).await? {
            Confirmed::Gone { at_ms } => at_ms,
            Confirmed::There(change) => return Ok(self.take(Entity::Organizations, vec![*change]).await?),
            Confirmed::Unknown => return Ok(()),
        };
        let known = self.store.known(Entity::Organizations, [organization_id.as_str()].into_iter()).await?;
        if matches!(known.get(organization_id.as_str()), Some(StoredState::There { .. })) {
            gone.organizations.insert(organization_id.clone(), at_ms);
            return Ok(());
        }
        for (id, user_id, created_at_ms) in memberships {
            let change = membership_deleted((id, user_id, *created_at_ms), organization_id, at_ms);
            gone.memberships.insert(id.as_str().to_owned(), change);
        }
        Ok(())
    }

    async fn gone_invitations(&mut self, gone: &mut Gone) -> Result<(), WalkError> {
        for row in self.unseen(Entity::Invitations).await? {
            let (Ok(id), Some(Ok(organization))) =
                (InvitationId::parse(&row.id), row.organization_id.as_deref().map(OrganizationId::parse))
            else {
                continue;
            };
            let user = row.user_id.and_then(|user| UserId::parse(&user).ok());
            if gone.organizations.contains_key(&organization)
                || user.is_some_and(|user| gone.users.contains_key(&user))
            {
                continue;
            }
            match self.confirm(self.api.invitation(&organization, &id)).await? {
                Confirmed::Gone { at_ms } => {
                    let text = id.as_str().to_owned();
                    gone.invitations.insert(text, Change::InvitationDeleted { id, at_ms });
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
        call: impl Future<Output = Result<Fetched<Option<Change>>, ApiError>>,
    ) -> Result<Confirmed, WalkError> {
        Ok(match self.said(call).await? {
            Some(Fetched { value: Some(change), .. }) => Confirmed::There(Box::new(change)),
            Some(Fetched { value: None, observed_at_ms }) => Confirmed::Gone { at_ms: observed_at_ms },
            None => Confirmed::Unknown,
        })
    }
}

fn organization_of(change: &Change) -> Option<&OrganizationId> {
    if let Change::MembershipDeleted { organization_id, .. } = change { Some(organization_id) } else { None }
}

fn membership_deleted(
    (id, user_id, created_at_ms): (&MembershipId, &UserId, i64),
    organization_id: &OrganizationId,
    at_ms: i64,
) -> Change {
    Change::MembershipDeleted {
        id: id.clone(),
        organization_id: organization_id.clone(),
        user_id: user_id.clone(),
        created_at_ms: Some(created_at_ms),
        at_ms,
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
