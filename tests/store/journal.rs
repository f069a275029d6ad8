//! The journal forgets what is old, and a replay after that does no harm.

use roster::domain::Outcome;

use super::history::{Said, Step, say};
use crate::support::database::{Kind, TestStore, on_both_databases};

on_both_databases!(old_events_are_forgotten_and_may_come_again);

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
