//! Whose page is written next, of walks along several lists.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, MutexGuard};

use crate::domain::Entity;

/// Lets one go after the other, and users before all others: a membership that is written before its user has to be put
/// on the list afterwards, and is written once more.
#[derive(Debug)]
pub(super) struct Turns<T> {
    turn: Mutex<T>,
    /// How many wait with users.
    waiting: AtomicUsize,
}

impl<T> Turns<T> {
    pub(super) fn new(value: T) -> Self {
        Self { turn: Mutex::new(value), waiting: AtomicUsize::new(0) }
    }

    /// Waits for its turn, which lasts until the guard falls.
    pub(super) async fn take(&self, entity: Entity) -> MutexGuard<'_, T> {
        if entity == Entity::Users {
            let _waits = Counted::among(&self.waiting);
            return self.turn.lock().await;
        }
        loop {
            let turn = self.turn.lock().await;
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return turn;
            }
            // They are in the queue already, and so before this one when it comes again.
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
    use futures_util::FutureExt as _;
    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn users_go_first() {
        let turns = &Turns::new(Vec::new());
        let running = turns.take(Entity::Memberships).await;
        let waiting = [Entity::Memberships, Entity::Invitations, Entity::Users, Entity::Organizations];
        let walks = waiting.map(|entity| async move { turns.take(entity).await.push(entity) });
        let release = async {
            tokio::task::yield_now().await;
            drop(running);
        };
        tokio::join!(join_all(walks), release);
        let mut order = turns.take(Entity::Users).await;
        assert_eq!(order.first(), Some(&Entity::Users));
        order.sort_unstable();
        assert_eq!(*order, Entity::ALL);
    }

    #[tokio::test]
    async fn nobody_waits_for_one_who_went_away() {
        let turns = Turns::new(());
        let running = turns.take(Entity::Users).await;
        assert!(turns.take(Entity::Users).now_or_never().is_none());
        drop(running);
        assert!(turns.take(Entity::Memberships).now_or_never().is_some());
    }
}
