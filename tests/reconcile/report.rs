//! The drift report: as JSON it has just the keys that are documented, and it is kept.

use insta::assert_snapshot;
use roster::reconcile::Report;
use roster::sim::backend_api::Fault;
use roster::sim::shapes::text;

use super::town::{DRY, FULL, INCREMENTAL, Town, pass};

/// Times differ from run to run.
fn timeless(mut report: Report) -> String {
    assert!(report.started_at <= report.finished_at);
    (report.started_at, report.finished_at) = (1, 2_000);
    serde_json::to_string(&report).unwrap()
}

#[tokio::test]
async fn reports_are_as_documented() {
    let town = Town::new(8, 3, 0).await;
    town.settle(11);
    assert_snapshot!(timeless(town.pass(DRY).await.report), @r#"{"kind":"full","outcome":"completed","dryRun":true,"startedAt":"1970-01-01T00:00:00.001Z","finishedAt":"1970-01-01T00:00:02.000Z","entities":{"users":{"seen":11,"missing":11,"stale":0,"gone":0,"repaired":0,"refused":0},"organizations":{"seen":2,"missing":2,"stale":0,"gone":0,"repaired":0,"refused":0},"memberships":{"seen":11,"missing":11,"stale":0,"gone":0,"repaired":0,"refused":0},"invitations":{"seen":2,"missing":2,"stale":0,"gone":0,"repaired":0,"refused":0}}}"#);
    assert_snapshot!(timeless(town.pass(FULL).await.report), @r#"{"kind":"full","outcome":"completed","dryRun":false,"startedAt":"1970-01-01T00:00:00.001Z","finishedAt":"1970-01-01T00:00:02.000Z","entities":{"users":{"seen":11,"missing":11,"stale":0,"gone":0,"repaired":11,"refused":0},"organizations":{"seen":2,"missing":2,"stale":0,"gone":0,"repaired":2,"refused":0},"memberships":{"seen":11,"missing":11,"stale":0,"gone":0,"repaired":11,"refused":0},"invitations":{"seen":2,"missing":2,"stale":0,"gone":0,"repaired":2,"refused":0}}}"#);
    {
        let mut clerk = town.clerk.lock();
        let users: Vec<_> = clerk.users().map(|user| text(user, "id").to_owned()).collect();
        clerk.delete_user(&users[0]).unwrap();
        clerk.ban(&users[1]).unwrap();
    }
    assert_snapshot!(timeless(town.pass(INCREMENTAL).await.report), @r#"{"kind":"incremental","outcome":"completed","dryRun":false,"startedAt":"1970-01-01T00:00:00.001Z","finishedAt":"1970-01-01T00:00:02.000Z","entities":{"users":{"seen":10,"missing":0,"stale":1,"gone":0,"repaired":1,"refused":0},"organizations":{"seen":2,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0},"memberships":{"seen":10,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0},"invitations":{"seen":2,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0}}}"#);
    assert_snapshot!(timeless(town.pass(FULL).await.report), @r#"{"kind":"full","outcome":"completed","dryRun":false,"startedAt":"1970-01-01T00:00:00.001Z","finishedAt":"1970-01-01T00:00:02.000Z","entities":{"users":{"seen":10,"missing":0,"stale":0,"gone":1,"repaired":1,"refused":0},"organizations":{"seen":2,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0},"memberships":{"seen":10,"missing":0,"stale":0,"gone":1,"repaired":1,"refused":0},"invitations":{"seen":2,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0}}}"#);
}

#[tokio::test]
async fn reports_are_kept() {
    let town = Town::new(8, 3, 0).await;
    town.settle(5);
    town.pass(DRY).await;
    town.pass(FULL).await;
    town.pass(INCREMENTAL).await;
    town.controls().set_secret_key("sk_test_other");
    let failed = town.pass(FULL).await;
    assert!(failed.error.unwrap().to_string().starts_with("Clerk refuses the secret key"));
    let kept = "SELECT kind, outcome, progress->'$.entities.users' AS users FROM passes ORDER BY id";
    assert_snapshot!(town.db.rows(kept, "").await.join("\n"), @r#"
    kind=full outcome=completed users={"seen":5,"missing":5,"stale":0,"gone":0,"repaired":5,"refused":0}
    kind=incremental outcome=completed users={"seen":5,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0}
    kind=full outcome=- users={"seen":0,"missing":0,"stale":0,"gone":0,"repaired":0,"refused":0}
    "#);
    // The one that failed is gone on with.
    town.controls().set_secret_key(roster::sim::backend_api::SECRET_KEY);
    town.pass(FULL).await;
    let kept = "SELECT kind, outcome FROM passes ORDER BY id";
    assert_snapshot!(town.db.rows(kept, "").await.join("\n"), @r#"
    kind=full outcome=completed
    kind=incremental outcome=completed
    kind=full outcome=completed
    "#);
}

#[tokio::test]
async fn a_brake_that_held_is_not_forgotten_by_a_fault_at_the_end() {
    let town = Town::new(8, 100, 0).await;
    town.settle(30);
    town.pass(FULL).await;
    let users: Vec<_> = town.clerk.lock().users().map(|user| text(user, "id").to_owned()).collect();
    for user in users.iter().take(12) {
        town.clerk.lock().delete_user(user).unwrap();
    }
    let asked = town.controls().asked();
    assert_eq!(pass(&town.reconciler, FULL).await.report.outcome.as_str(), "braked");
    // The last request of the next one goes wrong.
    let last = town.controls().asked() * 2 - asked;
    town.controls().fail_at(last, Fault::Status(500));
    let braked = pass(&town.reconciler, FULL).await;
    assert_eq!(town.controls().asked(), last);
    assert_eq!((braked.report.outcome.as_str(), braked.error.is_none()), ("braked", true));
}
