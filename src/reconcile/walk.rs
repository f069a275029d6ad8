//! Walks Clerk's lists from the oldest object to the newest, page by page.

use tracing::{debug, info, warn};

use super::diff;
use super::pass::{Pass, WalkError};
use super::progress::{Progress, Stage};
use crate::clerk::backend_api::{ApiError, Fetched, Order, Page};
use crate::domain::Entity;

/// How often a list that ends before its own count is asked again for what should follow.
const EMPTY_TRIES: u32 = 3;
/// How often a walk goes back because something was deleted under it.
const STEPS_BACK: u32 = 100;
/// How many ids of a page are remembered as cursors.
const CURSORS: usize = 10;

impl Pass<'_> {
    /// Walks users from the last cursor to the end.
    pub(super) async fn walk_users(&mut self, mut after: Vec<String>) -> Result<(), WalkError> {
        let mut empty = 0;
        loop {
            let page =
                match self.ask(self.api.users_page(self.page_size, after.last().map(String::as_str))).await {
                    // The user that the cursor names is gone: go on after the one before it.
                    Err(WalkError::Clerk(ApiError::Refused { .. })) if after.len() > 1 => {
                        after.pop();
                        continue;
                    }
                    page => page?.value,
                };
            if page.received == 0 {
                empty += 1;
                if self.is_complete(Entity::Users) || empty >= EMPTY_TRIES {
                    break;
                }
                continue;
            }
            empty = 0;
            let ids = page.changes.iter().filter_map(diff::id).map(str::to_owned);
            let mut cursors: Vec<_> = ids.chain(page.last_id.clone()).collect();
            cursors.dedup();
            after = cursors.split_off(cursors.len().saturating_sub(CURSORS));
            self.take_page(Entity::Users, page).await?;
            self.progress.stage = Stage::Users { after: after.clone() };
            self.checkpoint().await?;
        }
        self.say_if_incomplete(Entity::Users);
        self.progress.stage = Progress::list(Entity::Organizations);
        self.checkpoint().await?;
        Ok(())
    }

    /// Walks the list of another entity from `offset` to the end.
    ///
    /// Each page begins with the last object of the page before. When something else stands there, objects
    /// were deleted and the rest moved up, so the walk goes back far enough to miss none of them.
    pub(super) async fn walk_list(
        &mut self,
        entity: Entity,
        mut offset: u64,
        mut anchor: Option<String>,
    ) -> Result<(), WalkError> {
        let (mut empty, mut steps_back) = (0, 0);
        loop {
            let from = if anchor.is_some() { offset.saturating_sub(1) } else { offset };
            let mut page = match self.list_page(entity, from, Order::OldestFirst).await {
                Err(WalkError::Clerk(ApiError::FeatureOff { status })) => {
                    info!(
                        entity = entity.as_str(),
                        status, "Clerk has this switched off; nothing is concluded"
                    );
                    self.progress.off.push(entity);
                    break;
                }
                page => page?.value,
            };
            let total = page.total_count.unwrap_or(0);
            self.totals.insert(entity, total);
            let first = page.changes.first().and_then(diff::id);
            let moved = anchor.is_some() && (page.received == 0 || first != anchor.as_deref());
            if moved && total <= offset.saturating_sub(1) && page.received == 0 && total == 0 {
                break;
            }
            if moved && steps_back < STEPS_BACK && (page.received > 0 || total < offset) {
                debug!(entity = entity.as_str(), offset, "the list moved under the walk; going back");
                steps_back += 1;
                offset = offset.min(total).saturating_sub(2 * u64::from(self.page_size));
                anchor = None;
                continue;
            }
            if anchor.is_some() && !moved {
                page.changes.remove(0);
                page.received -= 1;
            }
            if page.received == 0 {
                empty += 1;
                if offset >= total || empty >= EMPTY_TRIES {
                    break;
                }
                continue;
            }
            empty = 0;
            offset += page.received as u64;
            anchor = page.last_id.clone();
            self.take_page(entity, page).await?;
            self.progress.stage = Stage::List { entity, offset, anchor: anchor.clone() };
            self.checkpoint().await?;
            if offset >= total {
                break;
            }
        }
        self.say_if_incomplete(entity);
        self.progress.stage = match entity {
            Entity::Users | Entity::Organizations => Progress::list(Entity::Memberships),
            Entity::Memberships => Progress::list(Entity::Invitations),
            Entity::Invitations => Stage::Gone,
        };
        self.checkpoint().await?;
        Ok(())
    }

    /// A part of one of the three lists that are paged by offset.
    pub(super) async fn list_page(
        &self,
        entity: Entity,
        offset: u64,
        order: Order,
    ) -> Result<Fetched<Page>, WalkError> {
        let size = self.page_size;
        match entity {
            Entity::Users => self.ask(self.api.users_updated_page(size, offset)).await,
            Entity::Organizations => self.ask(self.api.organizations_page(size, offset, order)).await,
            Entity::Memberships => self.ask(self.api.memberships_page(size, offset, order)).await,
            Entity::Invitations => self.ask(self.api.invitations_page(size, offset, order)).await,
        }
    }

    async fn take_page(&mut self, entity: Entity, page: Page) -> Result<(), WalkError> {
        if let Some(seen) = &mut self.dry {
            seen.extend(page.unusable_ids.into_iter().map(|id| (entity, id)));
        }
        self.drift(entity).seen += page.unusable as u64;
        Ok(self.take(entity, page.changes).await?)
    }

    fn is_complete(&self, entity: Entity) -> bool {
        self.progress.entities.of(entity).seen >= self.totals.get(&entity).copied().unwrap_or(0)
    }

    fn say_if_incomplete(&self, entity: Entity) {
        if !self.is_complete(entity) && !self.progress.off.contains(&entity) {
            warn!(
                entity = entity.as_str(),
                seen = self.progress.entities.of(entity).seen,
                total = self.totals.get(&entity).copied().unwrap_or(0),
                "Clerk showed fewer objects than it counts; what it did not show is not taken for gone"
            );
        }
    }
}
