//! Walks Clerk's lists from the oldest object to the newest, page by page.
//!
//! All lists are walked at once, and each asks for its next page while one is written, for a walk mostly waits for Clerk.
//! It is never more than one page ahead, so a pass that is killed asks for two pages of each list again at most.
//!
//! Lists move under a walk: what is made comes at the end, but what is deleted lets all that follows move up,
//! and a page that was to come next begins too late. Each walk notices that, and goes back.

use std::pin::pin;
use std::sync::OnceLock;

use futures_util::future::join_all;
use tokio::sync::MutexGuard;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::pass::{Pass, WalkError, ask, list_page};
use super::progress::{Anchor, Position, Stage};
use super::recent::moment;
use super::turns::Turns;
use crate::clerk::backend_api::{ApiError, BackendApi, Fetched, Order, Page};
use crate::domain::difference;
use crate::domain::{Entity, UserId};

/// How often a list that ends before its own count is asked again for what should follow.
pub(super) const EMPTY_TRIES: u32 = 3;
/// How often a walk goes back because something was deleted under it.
const STEPS_BACK: u32 = 100;
/// How often a walk of users begins again because everyone whom it remembers was deleted.
const RESTARTS: u32 = 3;
/// How many ids are remembered as cursors.
const CURSORS: usize = 10;

/// A walk along one list, beside those along the others.
struct Walk<'w, 'p> {
    entity: Entity,
    api: &'p BackendApi,
    page_size: u32,
    /// Ends all walks, when the pass is to stop or one of them has failed.
    stop: &'w CancellationToken,
    /// Whose turn it is writes a page; the others ask for their next ones meanwhile.
    turns: &'w Turns<&'w mut Pass<'p>>,
}

impl Pass<'_> {
    /// Walks all lists to their ends, from where each of them stands.
    pub(super) async fn walk(&mut self) -> Result<(), WalkError> {
        let Stage::Lists(positions) = self.progress.stage.clone() else { return Ok(()) };
        let (api, page_size) = (self.api, self.page_size);
        let stop = &self.stop.child_token();
        let mut failed = OnceLock::new();
        let turns = &Turns::new(self);
        let first = &failed;
        let walks = positions.into_iter().map(|(entity, position)| async move {
            let walk = Walk { entity, api, page_size, stop, turns };
            let walked = match position {
                Position::After(ids) => walk.users(ids).await,
                Position::From { offset, anchor } => walk.list(offset, anchor).await,
            };
            // Those that fail after it only end with it.
            if let Err(error) = walked
                && first.set(error).is_ok()
            {
                stop.cancel();
            }
        });
        join_all(walks).await;
        failed.take().map_or(Ok(()), Err)
    }

    /// Takes a page; the walk stands behind it then.
    async fn take_page(&mut self, entity: Entity, page: Page, position: Position) -> Result<(), WalkError> {
        if let Some(total) = page.total_count {
            self.progress.totals.insert(entity, total);
        }
        self.note_shown(entity, page.unusable_ids.iter().map(String::as_str));
        if let Some(seen) = &mut self.dry {
            seen.extend(page.unusable_ids.into_iter().map(|id| (entity, id)));
        }
        Ok(self.take_up_to(entity, page.changes, page.unusable as u64, Some(position)).await?)
    }

    /// How many objects of an entity Clerk says that it holds.
    pub(super) fn total(&self, entity: Entity) -> u64 {
        self.progress.totals.get(&entity).copied().unwrap_or(0)
    }

    /// A list is walked to its end.
    async fn end_list(&mut self, entity: Entity) -> Result<(), WalkError> {
        let seen = self.progress.entities.of(entity).seen;
        if seen < self.total(entity) && !self.progress.off.contains(&entity) {
            self.progress.short.push(entity);
            warn!(
                entity = entity.as_str(),
                seen,
                total = self.total(entity),
                "Clerk showed fewer objects than it counts; each of the others is asked for before it is taken for gone"
            );
        }
        self.progress.end(entity);
        Ok(self.checkpoint().await?)
    }
}

impl<'w, 'p> Walk<'w, 'p> {
    /// Waits for its turn. After the signal nothing is written: another process may be ahead by then.
    async fn pass(&self) -> Result<MutexGuard<'w, &'w mut Pass<'p>>, WalkError> {
        let pass = self.turns.take(self.entity).await;
        if self.stop.is_cancelled() { Err(WalkError::Stopped) } else { Ok(pass) }
    }

    /// Takes a page while Clerk is asked for the next one. Answers with what Clerk says, once the page is written: a
    /// refusal does not end the write, but a write that fails does not wait for Clerk.
    async fn take_page(
        &self,
        page: Page,
        position: Position,
        next: impl Future<Output = Result<Fetched<Page>, ApiError>>,
    ) -> Result<Result<Page, WalkError>, WalkError> {
        let mut take = pin!(async { self.pass().await?.take_page(self.entity, page, position).await });
        let mut next = pin!(self.ask_page(next));
        tokio::select! {
            taken = &mut take => {
                taken?;
                Ok(next.await)
            }
            next = &mut next => {
                take.await?;
                Ok(next)
            }
        }
    }

    async fn ask_page(
        &self,
        call: impl Future<Output = Result<Fetched<Page>, ApiError>>,
    ) -> Result<Page, WalkError> {
        Ok(self.ask(call).await?.value)
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, WalkError> {
        ask(self.stop, call).await
    }

    /// Walks users from the last cursor to the end.
    async fn users(&self, mut after: Vec<String>) -> Result<(), WalkError> {
        let (mut empty, mut restarts) = (0, 0);
        let mut ahead = None;
        loop {
            let cursor = after.last().cloned();
            let answer = match ahead.take() {
                Some(answer) => answer,
                None => self.ask_page(self.api.users_page(self.page_size, cursor.as_deref())).await,
            };
            let may_be_lost = match &answer {
                Ok(page) => page.received == 0,
                Err(error) => matches!(error, WalkError::Clerk(ApiError::Refused { .. })),
            };
            if may_be_lost
                && restarts < RESTARTS
                && let Some(cursor) = &cursor
                && self.is_gone(cursor).await?
            {
                // The cursor leads nowhere: on from the one before it.
                after.pop();
                restarts += u32::from(after.is_empty());
                continue;
            }
            let page = answer?;
            let mut behind = after.clone();
            behind.extend(page.changes.iter().filter_map(difference::id).map(str::to_owned));
            behind.extend(page.last_id.clone());
            // Whoever does not know cursors shows the same page for ever.
            let moves_on = behind.last() != cursor.as_ref();
            if page.received == 0 || !moves_on {
                empty += 1;
                let count = self.count_users().await?;
                if self.pass().await?.progress.entities.users.seen >= count {
                    break;
                }
                if page.received > 0 {
                    let what = "the list of users does not go on behind the last of a page".to_owned();
                    return Err(ApiError::Garbage { what }.into());
                }
                if empty >= EMPTY_TRIES {
                    break;
                }
                continue;
            }
            empty = 0;
            after = behind;
            after.dedup();
            after.drain(..after.len().saturating_sub(CURSORS));
            let position = Position::After(after.clone());
            let next = self.api.users_page(self.page_size, after.last().map(String::as_str));
            ahead = Some(self.take_page(page, position, next).await?);
        }
        self.pass().await?.end_list(self.entity).await
    }

    /// Whether Clerk says that there is no such user.
    async fn is_gone(&self, id: &str) -> Result<bool, WalkError> {
        let Ok(id) = UserId::parse(id) else { return Ok(false) };
        match self.ask(self.api.user(&id)).await {
            Ok(user) => Ok(user.value.is_none()),
            // There, but not readable.
            Err(WalkError::Clerk(ApiError::Garbage { .. })) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn count_users(&self) -> Result<u64, WalkError> {
        let count = self.ask(self.api.users_count()).await?.value;
        self.pass().await?.progress.totals.insert(Entity::Users, count);
        Ok(count)
    }

    /// Walks the list of another entity from `offset` to the end.
    ///
    /// Each page begins with the last object of the page before, the anchor. Where something younger stands
    /// instead, objects were deleted and the rest moved up, so the walk goes back, further each time, until a
    /// page begins with nothing younger than the anchor: then none is missed.
    async fn list(&self, offset: u64, mut anchor: Option<Anchor>) -> Result<(), WalkError> {
        let entity = self.entity;
        let (mut empty, mut steps_back, mut stride) = (0, 0, u64::from(self.page_size));
        let mut from = offset.saturating_sub(u64::from(anchor.is_some()));
        let page_from = |from| list_page(self.api, entity, self.page_size, from, Order::OldestFirst);
        let mut ahead = None;
        loop {
            let answer = match ahead.take() {
                Some(answer) => answer,
                None => self.ask_page(page_from(from)).await,
            };
            let mut page = match answer {
                Err(WalkError::Clerk(ApiError::FeatureOff { status })) => {
                    info!(
                        entity = entity.as_str(),
                        status, "Clerk has this switched off; nothing is concluded"
                    );
                    self.pass().await?.progress.off.push(entity);
                    break;
                }
                page => page?,
            };
            let total = page.total_count.unwrap_or(0);
            let is_past = match &anchor {
                Some(_) if page.received == 0 => from >= total,
                Some(anchor) => is_past(&page, anchor),
                None => false,
            };
            if is_past && from > 0 && steps_back < STEPS_BACK {
                debug!(entity = entity.as_str(), from, "the list moved under the walk; going back");
                steps_back += 1;
                from = from.min(total).saturating_sub(stride);
                stride *= 2;
                continue;
            }
            stride = u64::from(self.page_size);
            if page.received == 0 {
                empty += 1;
                if from >= total || empty >= EMPTY_TRIES {
                    self.pass().await?.progress.totals.insert(entity, total);
                    break;
                }
                continue;
            }
            empty = 0;
            // Whatever more than a page there is has been shown twice.
            let offset = from + (page.received as u64).min(u64::from(self.page_size));
            if anchor.as_ref().is_some_and(|anchor| is_first(&page, anchor)) {
                page.leave_out_first();
            }
            let is_all = page.received == 0;
            let youngest = page.changes.last().map(moment);
            let next = page.last_id.clone().map(|id| Anchor {
                id,
                // Of an object that cannot be read, at least so much is known.
                created_at_ms: youngest
                    .or(anchor.as_ref().map(|anchor| anchor.created_at_ms))
                    .unwrap_or(i64::MIN),
            });
            // Whoever answers with the anchor alone would do so for ever.
            anchor = next.filter(|_| !is_all);
            let position = Position::From { offset, anchor: anchor.clone() };
            if offset >= total {
                self.pass().await?.take_page(entity, page, position).await?;
                break;
            }
            from = offset.saturating_sub(u64::from(anchor.is_some()));
            ahead = Some(self.take_page(page, position, page_from(from)).await?);
        }
        self.pass().await?.end_list(entity).await
    }
}

fn is_first(page: &Page, anchor: &Anchor) -> bool {
    page.first_id.as_deref() == Some(anchor.id.as_str())
}

/// Whether something may have come between the anchor and the first object of a page.
fn is_past(page: &Page, anchor: &Anchor) -> bool {
    let first = page.changes.first().map_or(i64::MAX, moment);
    !is_first(page, anchor) && first >= anchor.created_at_ms
}
