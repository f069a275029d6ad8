//! A drill for the day when the machine is gone: Litestream replicates under load, all is killed, the replica is
//! restored, and what is missing is measured. `.ci/litestream` gets the program and runs this; it is no part of
//! `cargo test`.

#![expect(unreachable_pub, reason = "the modules of a test binary are reachable from nowhere")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the right answer, in its helpers too"
)]

#[expect(dead_code, reason = "shared with the other test program, which uses all of it")]
#[path = "../support"]
mod support {
    pub mod binary;
}
#[expect(dead_code, reason = "shared with the other test program, which uses all of it")]
#[path = "../crash/town.rs"]
mod town;

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use roster::clock;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use town::Town;

const DRILLS: u64 = 2;
/// Litestream copies what is new every second; what came in since the last copy is lost with the machine.
const LONGEST_LOSS_MS: i64 = 5_000;

fn litestream() -> Command {
    let program = std::env::var("ROSTER_LITESTREAM").unwrap_or_else(|_| "litestream".to_owned());
    Command::new(program)
}

/// Litestream at work, killed with the value.
struct Replication(Child);

impl Drop for Replication {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_replica_holds_all_but_the_last_moments() {
    let lost: Vec<_> = (0..DRILLS).map(drill).collect();
    println!("{} ms lost at most", lost.iter().max().unwrap());
}

/// When each message came in.
fn arrivals(town: &Town) -> BTreeMap<String, i64> {
    let options = SqliteConnectOptions::new().filename(town.database());
    let rows: Vec<(String, i64)> = town.runtime.block_on(async {
        let mut file = options.connect().await.unwrap();
        let rows = sqlx::query_as("SELECT message_id, received_at_ms FROM events");
        let rows = rows.fetch_all(&mut file).await.unwrap();
        file.close().await.unwrap();
        rows
    });
    rows.into_iter().collect()
}

/// Answers how much time was lost, in milliseconds.
fn drill(number: u64) -> i64 {
    let mut town = Town::new(number);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let away = tempfile::tempdir().unwrap();
    let replica = format!("file://{}", away.path().join("replica").display());
    let mut replicate = litestream();
    replicate.arg("replicate").arg(town.database()).arg(&replica);
    replicate.stdout(Stdio::null()).stderr(Stdio::null());
    let replication = Replication(replicate.spawn().expect("litestream is needed: run .ci/litestream"));

    let mut events = Vec::new();
    let load_until = clock::now_ms() + 3_000 + i64::try_from(town.random.number() % 1_000).unwrap();
    while clock::now_ms() < load_until {
        let some = town.live(40);
        let sent = town.send(&service, some.clone());
        assert!(town.runtime.block_on(sent).unwrap().iter().all(|one| one.status() == 200));
        events.extend(some);
    }
    // In the middle of more of it the machine is gone.
    let some = town.live(200);
    let sent = town.send(&service, some.clone());
    events.extend(some);
    for _ in 0..40 {
        program.wait_for(r#""message":"delivery""#);
    }
    let killed_ms = clock::now_ms();
    drop(replication);
    program.kill();
    town.runtime.block_on(sent).unwrap();

    let before = arrivals(&town);
    let restored = tempfile::tempdir().unwrap();
    let mut restore = litestream();
    restore.args(["restore", "-o"]).arg(restored.path().join("roster.db")).arg(&replica);
    let output = restore.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    town.move_to(restored);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let after = town.journal();
    let lost: Vec<_> = before.iter().filter(|(id, _)| !after.contains_key(*id)).collect();
    let oldest_ms = lost.iter().map(|(_, at_ms)| **at_ms).min();
    let window_ms = oldest_ms.map_or(0, |at_ms| killed_ms - at_ms);
    println!("drill {number}: {} of {} events lost, the oldest {window_ms} ms old", lost.len(), before.len());
    assert!(after.len() > before.len() / 2, "{} of {}", after.len(), before.len());
    assert!(window_ms < LONGEST_LOSS_MS, "{window_ms} ms");
    let kept_last_ms = before.iter().filter(|(id, _)| after.contains_key(*id)).map(|(_, at_ms)| *at_ms).max();
    assert!(
        oldest_ms.is_none_or(|lost_ms| kept_last_ms.unwrap() <= lost_ms + 1_000),
        "nothing is lost in the middle"
    );

    // The sender replays what came since: Clerk's dashboard, Webhooks, the endpoint, Replay.
    let again = town.send(&service, events);
    assert!(town.runtime.block_on(again).unwrap().iter().all(|one| one.status() == 200));
    assert_eq!(town.answers(&service), town.truth());
    program.kill();
    window_ms
}
