//! One pass at a time, over all processes: a lease in the database keeps them apart.

use std::sync::Arc;

use roster::clock;
use roster::domain::PassOutcome;
use roster::reconcile::{Reconciler, WalkError};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::town::{FULL, INCREMENTAL, Town};

#[tokio::test]
async fn the_second_is_told_that_there_is_a_first() {
    let town = Town::new(6, 2, 0).await;
    town.settle(5);
    let second = Reconciler::new(town.db.store.clone(), town.api.clone(), None);
    let reached = Arc::new(Notify::new());
    town.controls().set_latency(std::time::Duration::from_millis(20));
    town.controls().before_each({
        let reached = Arc::clone(&reached);
        move |_, _| reached.notify_one()
    });
    let (first, others) = tokio::join!(town.pass(FULL), async {
        reached.notified().await;
        let stop = CancellationToken::new();
        let other = second.run(FULL, &stop, &|_| {}).await.unwrap();
        let clone = town.reconciler.run(INCREMENTAL, &stop, &|_| {}).await.unwrap();
        (other.is_none(), clone.is_none())
    });
    assert_eq!(first.report.outcome, PassOutcome::Completed);
    assert_eq!(others, (true, true));
    // Once it is over, the next one runs.
    assert!(second.run(FULL, &CancellationToken::new(), &|_| {}).await.unwrap().is_some());
}

#[tokio::test]
async fn a_lease_goes_on_when_its_holder_has_died() {
    let town = Town::new(6, 2, 0).await;
    let store = &town.db.store;
    assert!(store.take_lease("one", 1_000, 16_000).await.unwrap());
    assert!(!store.take_lease("two", 2_000, 17_000).await.unwrap());
    assert!(store.take_lease("one", 5_000, 20_000).await.unwrap());
    assert!(!store.take_lease("two", 17_000, 32_000).await.unwrap());
    assert!(!store.take_lease("two", 20_000, 35_000).await.unwrap());
    assert!(store.take_lease("two", 20_001, 35_001).await.unwrap());
    assert!(!store.take_lease("one", 20_002, 35_002).await.unwrap());
    // Only its holder gives it back.
    store.release_lease("one").await.unwrap();
    assert!(!store.take_lease("one", 20_003, 35_003).await.unwrap());
    store.release_lease("two").await.unwrap();
    assert!(store.take_lease("one", 20_004, 35_004).await.unwrap());
    // A clock that was set back must not keep everybody out for as long.
    assert!(store.take_lease("one", 90_000_000, 90_015_000).await.unwrap());
    assert!(!store.take_lease("two", 90_001_000, 90_016_000).await.unwrap());
    assert!(store.take_lease("two", 3_000_000, 3_015_000).await.unwrap());
}

#[tokio::test]
async fn a_pass_waits_for_no_lease_and_takes_over_a_dead_one() {
    let town = Town::new(6, 2, 0).await;
    let now_ms = clock::now_ms();
    assert!(town.db.store.take_lease("dead", now_ms, now_ms + 60_000).await.unwrap());
    let stop = CancellationToken::new();
    assert!(town.reconciler.run(FULL, &stop, &|_| {}).await.unwrap().is_none());
    assert!(town.db.store.take_lease("dead", now_ms, now_ms - 1).await.unwrap());
    assert!(town.reconciler.run(FULL, &stop, &|_| {}).await.unwrap().is_some());
}

/// Whoever has the lease may write one page after the other, in another process, and leave no gap.
#[tokio::test]
async fn a_lease_that_is_taken_is_noticed_while_its_holder_writes() {
    let town = Town::new(6, 2, 0).await;
    let now_ms = clock::now_ms();
    assert!(town.db.store.take_lease("other", now_ms, now_ms + 60_000).await.unwrap());
    let file = SqliteConnectOptions::new().filename(town.db.folder.path().join("roster.db"));
    let mut holder = file.connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut holder).await.unwrap();
    let stop = CancellationToken::new();
    assert!(town.reconciler.run(FULL, &stop, &|_| {}).await.unwrap().is_none());
    holder.close().await.unwrap();
}

#[tokio::test]
async fn a_command_outlasts_a_dead_holder_and_gives_way_to_a_living_one() {
    let town = Town::new(6, 2, 0).await;
    let store = &town.db.store;
    let command = town.reconciler.clone().as_command();
    let hold = async |lasts_ms| {
        let now_ms = clock::now_ms();
        assert!(store.take_lease("other", now_ms, now_ms + lasts_ms).await.unwrap());
    };
    let stop = CancellationToken::new();
    let begun = clock::now_ms();
    hold(1_200).await;
    assert!(command.run(FULL, &stop, &|_| {}).await.unwrap().is_some());
    assert!(clock::now_ms() - begun >= 1_200, "not before the lease has ended");

    let begun = clock::now_ms();
    hold(60_000).await;
    let (finished, ()) = tokio::join!(command.run(FULL, &stop, &|_| {}), async {
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        hold(60_000).await;
    });
    assert!(finished.unwrap().is_none());
    let told_to_stop = CancellationToken::new();
    told_to_stop.cancel();
    assert!(command.run(FULL, &told_to_stop, &|_| {}).await.unwrap().is_none());
    assert!(clock::now_ms() - begun < 10_000, "neither was waited for to the end");
}

#[tokio::test]
async fn a_pass_that_loses_its_lease_stops_and_leaves_the_pass_to_the_other() {
    let town = Town::new(6, 2, 0).await;
    town.settle(60);
    town.controls().set_latency(std::time::Duration::from_millis(150));
    let store = &town.db.store;
    let (finished, ()) = tokio::join!(town.pass(FULL), async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        // As if the first had slept for a minute.
        let later_ms = clock::now_ms() + 60_000;
        assert!(store.take_lease("other", later_ms, later_ms + 60_000).await.unwrap());
    });
    assert_eq!(finished.report.outcome, PassOutcome::Interrupted);
    assert!(matches!(finished.error, Some(WalkError::LeaseLost)), "{:?}", finished.error);
    let now_ms = clock::now_ms();
    assert!(!store.take_lease("third", now_ms, now_ms + 1).await.unwrap(), "the other still has it");
}
