//! PostgreSQL goes by its indexes, also in tables that were empty when it last counted them.

use std::time::{Duration, Instant};

use super::history::Step;
use crate::support::database::{Kind, TestStore, wait_for};

/// Of the journal: how often an index was asked, and how many rows were read.
const READS: &str =
    "SELECT idx_scan, seq_tup_read + idx_tup_fetch AS rows FROM pg_stat_user_tables WHERE relname = 'events'";

async fn reads(db: &TestStore) -> (i64, i64) {
    let rows = db.rows(READS, "").await;
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
        for number in 1..=20 {
            deliver(&db, number).await;
        }
        // The server tells what a connection has read when it ends.
        db.store.close().await;
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let after = reads(&db).await;
            if after.0 - before.0 >= 20 {
                assert!(after.1 - before.1 < 1_000, "{before:?} {after:?}");
                break;
            }
            assert!(Instant::now() < deadline, "{before:?} {after:?}");
        }
    });
}
