//! Where passes stand is kept with what they write; old ones are forgotten, but for those that the next start goes by.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use roster::domain::{Difference, Outcome, PassKind, PassOutcome};
use roster::store::{Applied, StoredPass};

use tokio_util::sync::CancellationToken;

use super::history::Step;
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(a_pass_stands_behind_what_it_has_written);

async fn save(db: &TestStore, id: &str, kind: &str, outcome: &str, started_at_ms: i64) {
    let pass = StoredPass {
        id: id.to_owned(),
        kind: PassKind::parse(kind).unwrap(),
        outcome: PassOutcome::parse(outcome),
        started_at_ms,
        progress: "{}".to_owned(),
    };
    db.store.save_pass(&pass).await.unwrap();
}

async fn kept(db: &TestStore) -> Vec<String> {
    db.rows("SELECT id FROM passes ORDER BY id", "").await
}

#[tokio::test]
async fn the_newest_of_each_sort_outlives_the_others() {
    let db = TestStore::new().await;
    for (id, kind, outcome, at) in [
        ("a", "full", "", 1),
        ("b", "full", "completed", 2),
        ("c", "full", "", 3),
        ("d", "full", "braked", 4),
        ("e", "full", "interrupted", 5),
        ("f", "incremental", "completed", 6),
        ("g", "incremental", "completed", 7),
        ("h", "incremental", "failed", 8),
        ("i", "incremental", "failed", 10),
    ] {
        save(&db, id, kind, outcome, at).await;
    }
    // Whoever completed "b" found that "a" waited, and "d" that "c" did.
    let closed = db.rows("SELECT id FROM passes WHERE outcome IS NULL", "").await;
    assert_eq!(closed, [""; 0]);
    save(&db, "j", "full", "", 3).await;
    assert_eq!(db.store.forget_passes(1).await.unwrap(), 0);
    assert_eq!(db.store.forget_passes(10).await.unwrap(), 6);
    assert_eq!(kept(&db).await, ["id=d", "id=g", "id=i", "id=j"]);
    assert_eq!(db.store.forget_passes(10).await.unwrap(), 0);

    // What the next start asks is answered as before.
    assert_eq!(db.store.last_ended_pass(PassKind::Full).await.unwrap().as_deref(), Some("d"));
    assert_eq!(db.store.unfinished_pass(PassKind::Full).await.unwrap().unwrap().id, "j");
    assert_eq!(db.store.last_completed_pass().await.unwrap().unwrap().id, "g");
}

/// Its holder was thought to be dead, and another one has run it to its end meanwhile.
#[tokio::test]
async fn a_pass_that_has_ended_is_not_opened_again() {
    let db = TestStore::new().await;
    for outcome in ["", "completed", "", "interrupted"] {
        save(&db, "a", "full", outcome, 1).await;
    }
    assert_eq!(db.rows("SELECT outcome FROM passes", "").await, ["outcome=completed"]);
}

/// SQLite lets whoever waits for its lock ask now and then, and a writer that never pauses would be quicker each time: a
/// pass would lose its lease to its own writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_a_batch_and_not_for_a_pass() {
    const WRITERS: usize = 3;
    let db = &TestStore::new().await;
    let written = &AtomicUsize::new(0);
    let over = &CancellationToken::new();
    let write = |writer: usize| async move {
        for page in 0.. {
            let user = |user| Step::User { user, updated: 1, observed: 1, content: 1, sign_in: None };
            let users = (0..200).map(|number| user(number).change(&format!("_{writer}_{page}")));
            db.store.apply(users.collect()).await.unwrap();
            written.fetch_add(1, Ordering::Relaxed);
            if over.is_cancelled() {
                break;
            }
        }
    };
    let renew = async {
        let mut waited = Vec::new();
        for _ in 0..20 {
            let before = written.load(Ordering::Relaxed);
            assert!(db.store.take_lease("me", 1, 2).await.unwrap());
            waited.push(written.load(Ordering::Relaxed) - before);
        }
        over.cancel();
        waited
    };
    let (waited, _) = tokio::join!(renew, join_all((0..WRITERS).map(write)));
    // The batch under way, and what is written until a connection is given back. In no order it is seconds of batches.
    assert!(waited.iter().all(|pages| *pages <= 10 * WRITERS), "{waited:?}");
    assert!(waited.iter().any(|pages| *pages > 0), "nobody wrote meanwhile");
}

fn stands(progress: &str) -> StoredPass {
    StoredPass {
        id: "pass_1".to_owned(),
        kind: PassKind::Full,
        outcome: None,
        started_at_ms: 1,
        progress: progress.to_owned(),
    }
}

async fn a_pass_stands_behind_what_it_has_written(kind: Kind) {
    let db = TestStore::on(kind).await;
    let user = |user| Step::User { user, updated: 1, observed: 1, content: 1, sign_in: None }.change("");
    // It is told what became of each.
    let missing = |applied: &[Applied]| {
        let missing = |applied: &&Applied| {
            **applied == Applied { found: Difference::Missing, outcome: Outcome::Applied }
        };
        stands(&applied.iter().filter(missing).count().to_string())
    };
    for (page, expected) in [(vec![user(0), user(1)], "2"), (vec![user(1), user(2)], "1"), (vec![], "0")] {
        db.store.apply_up_to(page, missing).await.unwrap();
        let rows = db.rows("SELECT progress FROM passes", "").await;
        assert_eq!(rows, [format!("progress={expected}")]);
    }

    // When the one cannot be written, the other is not.
    let before = db.read_model("").await;
    db.plant(
        "INSERT INTO memberships (id, organization_id, user_id, created_at_ms, role, public_metadata, fallen)
        VALUES ('orgmem_0', 'org_0', '', 1, '', '{}', 0)",
    )
    .await;
    let joined =
        Step::Membership { membership: 0, place: (0, 0), created: 1, updated: 2, observed: 2, content: 1 };
    let page = vec![user(3), joined.change("")];
    assert!(db.store.apply_up_to(page, |_| stands("too far")).await.is_err());
    assert_eq!(db.rows("SELECT progress FROM passes", "").await, ["progress=0"]);
    db.plant("DELETE FROM memberships").await;
    assert_eq!(db.read_model("").await, before);

    // One that has ended stays as it is.
    save(&db, "pass_1", "full", "completed", 1).await;
    db.store.apply_up_to(vec![user(3)], |_| stands("again")).await.unwrap();
    let rows = db.rows("SELECT outcome, progress FROM passes", "").await;
    assert_eq!(rows, ["outcome=completed progress={}"]);
}
