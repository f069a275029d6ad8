//! What every part of a pass needs: Clerk, the store, and one way to take what Clerk showed.

use std::collections::HashSet;

use tokio_util::sync::CancellationToken;

use super::progress::{Position, Progress};
use super::report::Drift;
use super::run::Glance;
use crate::clerk::backend_api::{ApiError, BackendApi, Fetched, Order, Page};
use crate::domain::difference::{self, difference};
use crate::domain::{Change, Entity, Outcome};
use crate::store::{Applied, Store, StoreError};

/// How many changes go into one transaction, so that webhooks never wait long behind a pass.
const BATCH: usize = 500;

/// Why a pass stopped before its end.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// It was told to.
    #[error("it was told to stop")]
    Stopped,
    /// The lease could not be kept: another process has it, or may have it soon.
    #[error("the lease was lost: another process runs passes, or the database did not answer")]
    LeaseLost,
    /// The key is not that of the instance whose copy this is.
    #[error(
        "CLERK_SECRET_KEY is of {found}, CLERK_INSTANCE_ID is another instance: take both from the same one; \
         nothing was compared"
    )]
    OtherInstance {
        /// The instance of the key.
        found: String,
    },
    /// Clerk did not let it.
    #[error(transparent)]
    Clerk(#[from] ApiError),
    /// The store did not let it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A pass under way.
pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    pub(super) api: &'a BackendApi,
    pub(super) page_size: u32,
    pub(super) max_deletes: Option<u64>,
    pub(super) instance_id: Option<&'a str>,
    pub(super) allow_deletes: bool,
    pub(super) stop: &'a CancellationToken,
    pub(super) glance: &'a (dyn Fn(Glance) + Sync),
    pub(super) id: String,
    pub(super) progress: Progress,
    /// What a dry run has seen: nothing else remembers it.
    pub(super) dry: Option<HashSet<(Entity, String)>>,
}

/// Waits for an answer of Clerk's, or for the signal to stop.
pub(super) async fn ask<T>(
    stop: &CancellationToken,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, WalkError> {
    let answer = stop.run_until_cancelled(call).await.ok_or(WalkError::Stopped)?;
    Ok(answer?)
}

/// A part of a list that is paged by offset. Users come in another order than all others: the last changed first.
pub(super) async fn list_page(
    api: &BackendApi,
    entity: Entity,
    size: u32,
    offset: u64,
    order: Order,
) -> Result<Fetched<Page>, ApiError> {
    match entity {
        Entity::Users => api.users_updated_page(size, offset).await,
        Entity::Organizations => api.organizations_page(size, offset, order).await,
        Entity::Memberships => api.memberships_page(size, offset, order).await,
        Entity::Invitations => api.invitations_page(size, offset, order).await,
    }
}

impl Pass<'_> {
    /// Waits for an answer of Clerk's, or for the signal to stop.
    pub(super) async fn ask<T>(
        &self,
        call: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, WalkError> {
        ask(self.stop, call).await
    }

    /// Takes a part of a list: counts how it differs, and puts right what does.
    pub(super) async fn take(&mut self, entity: Entity, changes: Vec<Change>) -> Result<(), StoreError> {
        self.take_up_to(entity, changes, 0, None).await
    }

    /// Takes a part of a list, of which some could not be read; with a position, how far the list is walked is
    /// written in the same transaction.
    pub(super) async fn take_up_to(
        &mut self,
        entity: Entity,
        mut changes: Vec<Change>,
        unusable: u64,
        position: Option<Position>,
    ) -> Result<(), StoreError> {
        self.note_shown(entity, changes.iter().filter_map(difference::id));
        if let Some(seen) = &mut self.dry {
            // What a dry run has counted, a real one would have put right by now.
            changes.retain(|change| {
                difference::id(change).is_none_or(|id| seen.insert((entity, id.to_owned())))
            });
        }
        let found: Vec<_> = if self.dry.is_some() {
            let known = self.store.known(entity, changes.iter().filter_map(difference::id)).await?;
            let known = |change| difference::id(change).and_then(|id| known.get(id));
            let found =
                |change| Applied { found: difference(change, known(change)), outcome: Outcome::Stale };
            changes.iter().map(found).collect()
        } else if let Some(position) = &position {
            self.apply_up_to(entity, changes, unusable, position).await?
        } else {
            self.apply(changes).await?
        };
        self.progress.count(entity, &found);
        self.drift(entity).seen += unusable;
        if let Some(position) = position {
            self.progress.stand(entity, position);
        }
        (self.glance)(self.glance());
        Ok(())
    }

    /// Notes that Clerk has shown these objects, so that nobody takes them for gone.
    pub(super) fn note_shown<'a>(&mut self, entity: Entity, ids: impl Iterator<Item = &'a str>) {
        let suspects = &mut self.progress.suspects;
        if !suspects.is_empty() {
            let ids: HashSet<&str> = ids.collect();
            suspects.retain(|(of, row)| *of != entity || !ids.contains(row.id.as_str()));
        }
    }

    /// Writes changes in bounded batches.
    pub(super) async fn apply(&self, mut changes: Vec<Change>) -> Result<Vec<Applied>, StoreError> {
        let mut applied = Vec::with_capacity(changes.len());
        while !changes.is_empty() {
            let rest = changes.split_off(changes.len().min(BATCH));
            applied.append(&mut self.store.apply(changes).await?);
            changes = rest;
        }
        Ok(applied)
    }

    /// Writes changes in bounded batches, with the last one how far the list is walked.
    async fn apply_up_to(
        &self,
        entity: Entity,
        mut changes: Vec<Change>,
        unusable: u64,
        position: &Position,
    ) -> Result<Vec<Applied>, StoreError> {
        // It is empty only when all is.
        let last = changes.split_off(changes.len().saturating_sub(1) / BATCH * BATCH);
        let mut applied = self.apply(changes).await?;
        let mut progress = self.progress.clone();
        progress.count(entity, &applied);
        progress.entities.of_mut(entity).seen += unusable;
        progress.stand(entity, position.clone());
        let id = self.id.clone();
        let checkpoint = move |applied: &[Applied]| {
            let mut progress = progress.clone();
            progress.count(entity, applied);
            progress.stored(&id, None)
        };
        applied.append(&mut self.store.apply_up_to(last, checkpoint).await?);
        Ok(applied)
    }

    /// Writes down where the pass stands, so that it can be resumed there.
    pub(super) async fn checkpoint(&self) -> Result<(), StoreError> {
        if self.dry.is_some() {
            return Ok(());
        }
        self.store.save_pass(&self.progress.stored(&self.id, None)).await
    }

    /// How far the pass is, for a person who watches.
    pub(super) fn glance(&self) -> Glance {
        let seen = |entity| self.progress.entities.of(entity).seen;
        Glance {
            seen: Entity::ALL.into_iter().map(seen).sum(),
            total: self.progress.total(),
            stage: self.progress.stage.name(),
        }
    }

    pub(super) fn drift(&mut self, entity: Entity) -> &mut Drift {
        self.progress.entities.of_mut(entity)
    }
}
