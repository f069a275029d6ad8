use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::victim::Victim;

/// Without what lets root write everywhere.
fn not_almighty() -> &'static [&'static str] {
    let root = fs::metadata("/proc/self").is_ok_and(|ours| std::os::unix::fs::MetadataExt::uid(&ours) == 0);
    if root { &["setpriv", "--bounding-set=-dac_override,-dac_read_search"] } else { &[] }
}

fn allow(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn what_may_not_be_written_is_refused_and_taken_when_it_may() {
    let victim = Victim::with_a_past().await;
    let starter = not_almighty();
    let words = "its folder must exist, and both must be writable";
    for (path, forbidden, allowed) in
        [(victim.database(), 0o400, 0o600), (victim.folder().into(), 0o500, 0o700)]
    {
        // Nobody else has claimed it yet.
        fs::remove_file(victim.beside(".lock")).unwrap();
        allow(&path, forbidden);
        victim.is_refused(starter, words);
        allow(&path, allowed);
        let service = victim.serve_under(starter);
        victim.nothing_is_lost(&service).await;
        service.program.terminate();
        service.program.wait();
    }
    let service = victim.serve();
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn a_file_that_was_moved_away_takes_nothing_until_it_is_back() {
    let mut victim = Victim::with_a_past().await;
    let service = victim.serve();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    let (here, away) = (victim.database(), victim.beside(".away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [503, 503]);
    assert!(!victim.is_ready(&service).await);
    // Another one in its place is not it.
    fs::copy(&away, &here).unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [503, 503]);
    assert!(!victim.is_ready(&service).await);
    fs::rename(&away, &here).unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    assert!(victim.is_ready(&service).await);
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn a_symbolic_link_names_the_file_that_it_leads_to() {
    let mut victim = Victim::new();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("site.db");
    std::os::unix::fs::symlink(&file, victim.database()).unwrap();
    let service = victim.serve();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    assert!(elsewhere.path().join("site.db-wal").exists());
    // It leads to another file now.
    fs::remove_file(victim.database()).unwrap();
    std::os::unix::fs::symlink(elsewhere.path().join("other.db"), victim.database()).unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [503, 503]);
    fs::remove_file(victim.database()).unwrap();
    std::os::unix::fs::symlink(&file, victim.database()).unwrap();
    victim.survives_the_end_of(service).await;
}

#[tokio::test]
async fn after_its_log_was_removed_nothing_is_acknowledged_and_an_orderly_end_saves_all() {
    let mut victim = Victim::with_a_past().await;
    let mut service = victim.serve();
    assert_eq!(victim.somebody_joins(&service).await, [200, 200]);
    fs::remove_file(victim.beside("-wal")).unwrap();
    assert_eq!(victim.somebody_joins(&service).await, [503, 503]);
    assert!(!victim.is_ready(&service).await);
    service.program.wait_for("roster.db-wal was moved, replaced or removed under the service");
    service.program.terminate();
    assert_eq!(service.program.wait().code(), Some(0));
    let service = victim.serve();
    victim.survives_the_end_of(service).await;
}
