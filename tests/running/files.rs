//! Everything that is written is for its owner alone, whatever the shell allows others.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::support::binary::Program;
use crate::support::delivery::{SECRET, now_s};
use crate::support::site::{clerk, post};

/// The files of a folder, with what their owner, group and others may do.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| entry.metadata().unwrap().is_file())
        .map(|entry| {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), format!("{mode:o}"))
        })
        .collect();
    files.sort();
    files
}

/// All of these and no others, each for its owner alone.
fn assert_private(folder: &Path, names: &[&str]) {
    let files = files(folder);
    assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
    assert!(files.iter().all(|(_, mode)| mode == "600"), "{files:?}");
}

/// A command of a user whose files are open to everybody unless told otherwise.
fn roster(folder: &Path, arguments: &[&str]) {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_roster")]).args(arguments);
    let output = shell.env_clear().current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn the_files_of_the_service_and_its_commands_are_for_their_owner() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pem = clerk(1).key().public_pem().unwrap();
    let environment = [
        ("ROSTER_LISTEN", "127.0.0.1:0"),
        ("ROSTER_OPS_LISTEN", "127.0.0.1:0"),
        ("ROSTER_LOG_FORMAT", "json"),
        ("CLERK_JWT_KEY", &pem),
        ("CLERK_WEBHOOK_SIGNING_SECRET", SECRET),
    ];
    let mut program = Program::start_after("umask 000; ulimit -Sn 256", folder, &["serve"], &environment);
    let url = program.wait_until_it_listens();
    let user = crate::delivery::payloads::user("user_1").to_string();
    let delivery = crate::support::delivery::Delivery::signed(SECRET, "msg_1", now_s(), user);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(post(&client, &url, &delivery).send().await.unwrap().status(), 200);
    let limits = fs::read_to_string(format!("/proc/{}/limits", program.id())).unwrap();
    let open: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(open[3], open[4], "the soft limit is the hard one");
    let own = ["roster.db", "roster.db-shm", "roster.db-wal", "roster.db.lock"];
    assert_private(folder, &own);
    roster(folder, &["backup", "copy.db"]);
    roster(folder, &["events", "list"]);
    roster(folder, &["events", "erase", "user_1"]);
    let mut with_copy = own.to_vec();
    with_copy.insert(0, "copy.db");
    assert_private(folder, &with_copy);
    program.terminate();
    assert!(program.wait().success());

    roster(folder, &["migrate-store", "--from", "sqlite:roster.db", "--to", "sqlite:moved.db"]);
    let files = files(folder);
    assert!(files.iter().any(|(name, _)| name == "moved.db"));
    assert!(files.iter().all(|(_, mode)| mode == "600"), "{files:?}");
}
