use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::victim::{Service, Victim};
use crate::support::database::copy_at_once;

/// Deliveries until the disk is full; it holds a few hundred of these.
async fn fill(victim: &mut Victim, service: &Service) {
    for _ in 0..400 {
        if victim.somebody_joins(service).await.contains(&503) {
            return;
        }
    }
    panic!("it never fills up");
}

/// Looks at copies of the files: the disk that they are on may be seen by the service alone.
async fn nothing_is_lost(victim: &Victim, service: &Service, folder: &Path) {
    let copy = tempfile::tempdir().unwrap();
    copy_at_once(&service.program, folder, copy.path());
    victim.nothing_is_lost_from(service, &copy.path().join("roster.db")).await;
}

async fn a_full_disk(mut victim: Victim, service: &Service, folder: &Path, room: impl FnOnce()) -> Victim {
    fill(&mut victim, service).await;
    // What is known can be told nevertheless, and how old it is is told with it.
    nothing_is_lost(&victim, service, folder).await;
    assert!(victim.list(service).await.header("roster-as-of").is_some());
    for _ in 0..3 {
        assert!(victim.somebody_joins(service).await.contains(&503), "it is still full");
    }
    room();
    assert_eq!(victim.somebody_joins(service).await, [200, 200], "there is room again");
    nothing_is_lost(&victim, service, folder).await;
    victim
}

/// The system refuses to let any file grow past two MiB.
#[tokio::test]
async fn past_the_limit_of_a_file_nothing_is_acknowledged_and_all_is_well_when_it_is_lifted() {
    let victim = Victim::new();
    let limited = ["sh", "-c", r#"trap "" XFSZ; ulimit -S -f 4096; exec "$0" "$@""#];
    let service = victim.serve_under(&limited);
    let id = service.program.id().to_string();
    let lift = || {
        let lifted = Command::new("prlimit").args(["--fsize=unlimited", "--pid", &id]).status().unwrap();
        assert!(lifted.success());
    };
    let folder = victim.folder().to_owned();
    let victim = a_full_disk(victim, &service, &folder, lift).await;
    victim.survives_the_end_of(service).await;
}

/// Whether this system lets us mount what only we see. Some do not, and then the test above has to do.
fn may_mount() -> bool {
    let may = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    may.is_ok_and(|tried| tried.status.success())
}

#[tokio::test]
async fn on_a_full_disk_nothing_is_acknowledged_and_with_room_it_goes_on() {
    if !may_mount() {
        eprintln!("no small disk can be mounted here");
        return;
    }
    let victim = Victim::new();
    let folder = victim.folder().to_str().unwrap();
    let mount = format!(r#"mount -t tmpfs -o size=4m none {folder} && cd {folder} && exec "$0" "$@""#);
    let service = victim.serve_under(&["unshare", "-rm", "sh", "-c", &mount]);
    // The way to what only it sees.
    let inside = PathBuf::from(format!("/proc/{}/root{folder}", service.program.id()));
    let ballast = inside.join("ballast");
    fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    a_full_disk(victim, &service, &inside, || fs::remove_file(&ballast).unwrap()).await;
}
