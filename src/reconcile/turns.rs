//! Whose page is written next, of walks along several lists.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::Entity;

/// Lets one go after the other: who came first, but users and organizations before what belongs to them. A
/// membership that is written before its user has to be put on the list afterwards, and is written once more.
#[derive(Debug)]
pub(super) struct Turns<T> {
    turn: Mutex<T>,
    /// How many wait with users or organizations.
    parents: AtomicUsize,
}

impl<T> Turns<T> {
    pub(super) fn new(value: T) -> Self {
        Self { turn: Mutex::new(value), parents: AtomicUsize::new(0) }
    }

    /// Waits for its turn, which lasts until the guard falls.
    pub(super) async fn take(&self, entity: Entity) -> MutexGuard<'_, T> {
        match entity {
            Entity::Users | Entity::Organizations => {
                let _waits = Counted::among(&self.parents);
                self.turn.lock().await
            }
            Entity::Memberships | Entity::Invitations => loop {
                let turn = self.turn.lock().await;
                if self.parents.load(Ordering::Relaxed) == 0 {
                    break turn;
                }
                // They are in the queue already, and so before it when it comes again.
            },
        }
    }
}

/// One of several, until it falls.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn among(all: &'a AtomicUsize) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn parents_go_first_and_all_others_in_their_order() {
        let turns = Turns::new(Vec::new());
        let running = turns.take(Entity::Invitations).await;
        let waiting = [Entity::Invitations, Entity::Memberships, Entity::Organizations, Entity::Users];
        let walks = waiting.map(|entity| {
            let turns = &turns;
            async move {
                turns.take(entity).await.push(entity);
            }
        });
        let release = async {
            tokio::task::yield_now().await;
            drop(running);
        };
        tokio::join!(join_all(walks), release);
        let after = [Entity::Organizations, Entity::Users, Entity::Invitations, Entity::Memberships];
        assert_eq!(turns.turn.into_inner(), after);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_parent_who_went_away() {
        let turns = Turns::new(());
        let running = turns.take(Entity::Users).await;
        let moment = Duration::from_millis(10);
        assert!(tokio::time::timeout(moment, turns.take(Entity::Users)).await.is_err());
        drop(running);
        drop(turns.take(Entity::Memberships).await);
    }
}
