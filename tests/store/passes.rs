//! Old passes are forgotten, but for those that the next start goes by.

use roster::store::StoredPass;

use crate::support::database::TestStore;

async fn save(db: &TestStore, id: &str, kind: &str, outcome: &str, started_at_ms: i64) {
    let outcome = Some(outcome.to_owned()).filter(|outcome| !outcome.is_empty());
    let pass = StoredPass {
        id: id.to_owned(),
        kind: kind.to_owned(),
        outcome,
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
    assert_eq!(db.store.last_ended_pass("full").await.unwrap().as_deref(), Some("d"));
    assert_eq!(db.store.unfinished_pass("full").await.unwrap().unwrap().id, "j");
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
