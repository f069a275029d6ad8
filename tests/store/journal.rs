//! The journal and the log of changes forget what is old, which does no harm.

use roster::domain::{OrganizationId, Outcome, UserId};

use super::history::{Said, Step, say};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(old_events_are_forgotten_and_may_come_again, the_newest_changes_are_kept);

async fn old_events_are_forgotten_and_may_come_again(kind: Kind) {
    let db = TestStore::on(kind).await;
    let user = Step::User { user: 0, updated: 1, observed: 1, content: 1, sign_in: None };
    let history: Vec<_> = (0..1_200).map(|_| Said { step: user.clone(), by_pass: false }).collect();
    let order: Vec<_> = (0..history.len()).collect();
    say(&db, "j-", &history, &order, 4).await;
    let rows = db.read_model("j-").await.len();

    // They all came in at 0.
    assert_eq!(db.store.forget_events(0).await.unwrap(), 0);
    assert_eq!(db.store.forget_events(1).await.unwrap(), 1_200);
    assert_eq!(db.read_model("j-").await.len(), rows - 1_200);

    let again = db.store.deliver(user.delivery("j-", 0), vec![user.change("j-")]).await.unwrap();
    assert_eq!(again, Outcome::Stale);
}

/// Of 50,100 batches with two changes each the last 50,000 stay: whoever has heard of all before them goes on there.
async fn the_newest_changes_are_kept(kind: Kind) {
    let db = TestStore::on(kind).await;
    db.plant(
        "INSERT INTO changes (version, organization_id, user_id, kind)
        WITH RECURSIVE v (version) AS (SELECT 1 UNION ALL SELECT version + 1 FROM v WHERE version < 50100)
        SELECT v.version, 'org_1', u.id, 'upserted'
        FROM v CROSS JOIN (SELECT 'user_1' AS id UNION ALL SELECT 'user_2') u",
    )
    .await;
    db.plant("DELETE FROM sequences WHERE name = 'version'").await;
    db.plant("INSERT INTO sequences (name, value) VALUES ('version', 50100)").await;
    let (organization, user) = (OrganizationId::parse("org_1").unwrap(), UserId::parse("user_1").unwrap());
    let can_resume = async |version| db.store.follow(&organization, &user).resume(version).await.unwrap();
    assert!(can_resume(0).await);

    db.store.forget_events(0).await.unwrap();
    let kept = db.rows("SELECT COUNT(*) AS n, MIN(version) AS oldest FROM changes", "").await;
    assert_eq!(kept, ["n=100000 oldest=101"]);
    assert!(!can_resume(99).await && can_resume(100).await && can_resume(50_100).await);
}
