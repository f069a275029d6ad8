use sqlx::{Connection as _, Executor as _};

use super::victim::{Victim, open};

#[tokio::test]
async fn while_another_program_keeps_the_lock_nothing_is_acknowledged_and_lists_are_answered() {
    let mut victim = Victim::new();
    let service = victim.serve();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    let mut other = open(&victim.database()).await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [503, 503], "nobody waits for ever");
    victim.nothing_is_lost(&service).await;
    assert!(victim.is_ready(&service).await);
    // A service that starts now has nothing to write.
    service.program.kill();
    let service = victim.serve();
    victim.nothing_is_lost(&service).await;

    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    other.close().await.unwrap();
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn a_file_that_is_locked_at_the_start_is_waited_for() {
    let victim = Victim::new();
    let mut other =
        sqlx::sqlite::SqliteConnectOptions::new().filename(victim.database()).create_if_missing(true);
    other = other.journal_mode(sqlx::sqlite::SqliteJournalMode::Delete);
    let mut other = sqlx::ConnectOptions::connect(&other).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let mut program = victim.attempt(&[]);
    program.wait_for(r#""message":"database""#);
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    program.wait_until_it_listens();
}

#[tokio::test]
async fn a_start_is_refused_when_the_lock_stays() {
    let victim = Victim::new();
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(victim.database()).create_if_missing(true);
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    other.execute("BEGIN EXCLUSIVE").await.unwrap();
    let mend = "another program keeps it locked, and has to end its transaction";
    victim.is_refused(&[], mend);
    let doctor = victim.doctor();
    assert!(doctor.contains("mend  database") && doctor.contains(mend), "{doctor}");
}
