use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;

use roster::sim::random::Random;
use sqlx::{Connection as _, Executor as _};

use super::victim::{Victim, open};

const PAGE: u64 = 4_096;

/// Writes noise over a part of a file.
fn garble(file: &std::path::Path, from: u64, length: usize) {
    let mut random = Random::new(from);
    let noise: Vec<_> = (0..length).map(|_| random.number().to_le_bytes()[0]).collect();
    OpenOptions::new().write(true).open(file).unwrap().write_all_at(&noise, from).unwrap();
}

#[tokio::test]
async fn what_is_no_sound_database_is_refused_and_kept() {
    let victim = Victim::with_a_past().await;
    let database = victim.database();
    let sound = fs::read(&database).unwrap();
    let half = sound.len() as u64 / 2;
    for damage in [
        &|| garble(&database, 0, 100) as _,
        &|| garble(&database, 100, 3_900),
        &|| fs::write(&database, "a letter to somebody, and not a short one either").unwrap(),
        &|| OpenOptions::new().write(true).open(&database).unwrap().set_len(half).unwrap(),
    ] as [&dyn Fn(); 4]
    {
        damage();
        let damaged = fs::read(&database).unwrap();
        let mend = "restore a backup, or move it away";
        victim.is_refused(&[], mend);
        let doctor = victim.doctor();
        assert!(doctor.contains("mend  database") && doctor.contains(mend), "{doctor}");
        assert!(fs::read(&database).unwrap() == damaged, "nothing is written into it");
        fs::write(&database, &sound).unwrap();
    }
    let service = victim.serve();
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn pages_that_break_are_an_honest_503_and_no_list_that_is_too_short() {
    let mut victim = Victim::with_a_past().await;
    let service = victim.serve();
    for _ in 0..60 {
        assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    }
    service.program.terminate();
    assert_eq!(service.program.wait().code(), Some(0));
    let mut file = open(&victim.database()).await;
    let root = "SELECT rootpage FROM sqlite_master WHERE name = 'users'";
    let root: i64 = sqlx::query_scalar(root).fetch_one(&mut file).await.unwrap();
    file.close().await.unwrap();
    let sound = fs::read(victim.database()).unwrap();
    let known = victim.acknowledged.clone();
    garble(&victim.database(), (u64::try_from(root).unwrap() - 1) * PAGE, 64);
    let mut service = victim.serve();
    assert_eq!(victim.list(&service).await.problem(), "503 UNAVAILABLE");
    assert!(victim.somebody_joins(&service).await.contains(&503));
    service.program.wait_for("restore a backup, or move it away");
    service.program.kill();
    // A backup knows what was known when it was made.
    fs::write(victim.database(), sound).unwrap();
    victim.acknowledged = known;
    for side in ["-wal", "-shm"] {
        fs::remove_file(victim.beside(side)).unwrap();
    }
    let service = victim.serve();
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused_and_kept() {
    let victim = Victim::with_a_past().await;
    let mut file = open(&victim.database()).await;
    let newer = "INSERT INTO _sqlx_migrations SELECT 9999, 'of tomorrow', installed_on, 1, checksum, 0
        FROM _sqlx_migrations LIMIT 1";
    file.execute(newer).await.unwrap();
    file.close().await.unwrap();
    let before = fs::read(victim.database()).unwrap();
    victim.is_refused(&[], "the database is from a newer Roster: install that version");
    assert!(fs::read(victim.database()).unwrap() == before, "nothing is written into it");
    let mut file = open(&victim.database()).await;
    file.execute("DELETE FROM _sqlx_migrations WHERE version = 9999").await.unwrap();
    file.close().await.unwrap();
    let service = victim.serve();
    victim.survives_the_end_of(service).await;
}
