//! PostgreSQL goes by its indexes, also in tables that were empty when it last counted them.

use std::time::Duration;

use super::history::Step;
use crate::support::database::{Kind, TestStore, wait_for};

/// Of the journal: how often an index was asked, and how many rows were read.
async fn reads(db: &TestStore) -> (i64, i64) {
    let row = "SELECT idx_scan AS a, seq_tup_read + idx_tup_fetch AS b FROM pg_stat_user_tables WHERE relname = 'events'";
    let rows = db.rows(row, "").await;
    let mut numbers = rows[0].split(' ').map(|cell| cell.split_once('=').unwrap().1.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

async fn deliver(db: &TestStore, number: u8) {
    let step = Step::User { user: number, updated: 1, observed: 1, content: 1, sign_in: None };
    db.store.deliver(step.delivery("p-", number.into()), vec![step.change("p-")]).await.unwrap();
}

#[test]
fn a_table_that_grew_is_not_read_from_end_to_end() {
    wait_for(async {
        let db = TestStore::on(Kind::Postgres).await;
        db.plant("ANALYZE").await;
        deliver(&db, 0).await;
        db.plant(
            "INSERT INTO events (message_id, type, received_at_ms, outcome)
            SELECT 'old_' || number, 'user.created', 1, 'applied' FROM generate_series(1, 20000) number",
        )
        .await;
        // Plans are a second old at most.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let before = reads(&db).await;
        // The server counts every second.
        for number in 1..=30 {
            deliver(&db, number).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let after = reads(&db).await;
        assert!(after.0 - before.0 >= 10, "{before:?} {after:?}");
        assert!(after.1 - before.1 < 1_000, "{before:?} {after:?}");
    });
}
