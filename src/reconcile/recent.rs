//! What changed since the last completed pass: the newest part of each list, and then the counts.

use tracing::{debug, info, warn};

use super::pass::{Pass, WalkError, list_page};
use super::progress::Stage;
use super::walk::EMPTY_TRIES;
use crate::clerk::backend_api::{ApiError, Order};
use crate::domain::{Change, Entity};
use crate::telemetry::causes;

/// How far a pass looks back beyond the start of the last one: clocks differ, and lists lag.
const OVERLAP_MS: i64 = 5 * 60 * 1_000;

impl Pass<'_> {
    /// Takes what is newer than `watermark_ms`, by Clerk's clock.
    pub(super) async fn take_recent(&mut self, watermark_ms: i64) -> Result<(), WalkError> {
        let since_ms = watermark_ms.saturating_sub(OVERLAP_MS);
        for entity in Entity::ALL {
            let (mut offset, mut empty) = (0, 0);
            loop {
                let call = list_page(self.api, entity, self.page_size, offset, Order::NewestFirst);
                let page = match self.ask(call).await {
                    Err(WalkError::Clerk(ApiError::FeatureOff { status })) => {
                        info!(entity = entity.as_str(), status, "Clerk has this switched off");
                        self.progress.off.push(entity);
                        break;
                    }
                    page => page?.value,
                };
                if let Some(total) = page.total_count {
                    self.progress.totals.insert(entity, total);
                }
                let received = page.received;
                let reached = page.changes.iter().any(|change| moment(change) < since_ms);
                let recent = page.changes.into_iter().filter(|change| moment(change) >= since_ms).collect();
                self.take(entity, recent).await?;
                offset += received as u64;
                // A short page is not yet the last one.
                empty = if received == 0 { empty + 1 } else { 0 };
                if reached || offset >= self.total(entity) || empty >= EMPTY_TRIES {
                    break;
                }
            }
        }
        self.progress.stage = Stage::Done;
        Ok(())
    }

    /// Compares how much is known with how much Clerk says there is. The pass has done its work by now, so
    /// whatever becomes of this does not change its outcome.
    pub(super) async fn compare_counts(&mut self) {
        if self.dry.is_none()
            && let Err(error) = self.try_to_compare_counts().await
        {
            debug!(error = %causes(&error), "the counts cannot be compared");
        }
    }

    async fn try_to_compare_counts(&mut self) -> Result<(), WalkError> {
        let users = self.ask(self.api.users_count()).await?;
        self.progress.totals.insert(Entity::Users, users.value);
        for entity in Entity::ALL {
            let Some(&total) = self.progress.totals.get(&entity) else { continue };
            let here = self.store.count(entity).await?;
            if here != total && !self.progress.off.contains(&entity) {
                warn!(
                    entity = entity.as_str(),
                    here,
                    at_clerk = total,
                    "the counts differ; a full pass will tell"
                );
            }
        }
        Ok(())
    }
}

/// What the list of an entity is ordered by: users by their last change, all others by when they were made.
pub(super) fn moment(change: &Change) -> i64 {
    match change {
        Change::User { user, .. } => user.version.updated_at_ms,
        Change::Organization(organization) => organization.content.created_at_ms,
        Change::Membership(membership) => membership.content.created_at_ms,
        Change::Invitation(invitation) => invitation.content.created_at_ms,
        _ => i64::MAX,
    }
}
