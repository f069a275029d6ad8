use std::process::Command;

use super::town::{Town, committed};
use crate::support::binary::Program;

fn backup(town: &Town, file: &std::path::Path) -> Program {
    Program::start(town.folder(), &["backup", file.to_str().unwrap()], &[])
}

#[test]
fn a_backup_under_load_has_all_that_was_acknowledged_before_it_began() {
    let mut town = Town::new(9);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let events = town.live(600);
    let deliveries = town.send(&service, events.clone());
    let mut copies = Vec::new();
    for number in 0..4 {
        for _ in 0..40 {
            program.wait_for(r#""message":"delivery""#);
        }
        let known = committed(&program);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roster.db");
        if number % 2 == 0 {
            // Cut off in the middle of it, or just after.
            let cut_off = backup(&town, &file);
            while !file.with_extension("db.partial").exists() && !file.exists() {
                std::thread::yield_now();
            }
            cut_off.kill();
            // Whatever has the name is whole; and when nothing has, what is left is in nobody's way.
            if !file.exists() {
                assert_eq!(backup(&town, &file).wait().code(), Some(0));
            }
        } else {
            assert_eq!(backup(&town, &file).wait().code(), Some(0));
        }
        copies.push((folder, known));
    }
    assert!(!deliveries.is_finished(), "the backups came after the load");
    town.runtime.block_on(deliveries).unwrap();
    program.kill();
    for (folder, known) in copies {
        town.move_to(folder);
        let journal = town.journal();
        assert!(known.iter().all(|id| journal.contains_key(id)), "{} of {}", journal.len(), known.len());
        let mut program = town.serve();
        let service = program.wait_until_it_listens();
        let answers = town.answers(&service);
        town.check_listed(&answers, &events, &known);
        let again = town.send(&service, events.clone());
        assert!(town.runtime.block_on(again).unwrap().iter().all(|one| one.status() == 200));
        assert_eq!(town.answers(&service), town.truth());
        program.kill();
    }
}

#[test]
fn a_backup_that_has_no_room_says_so_and_leaves_nothing() {
    let mut town = Town::new(10);
    let mut program = town.serve();
    let service = program.wait_until_it_listens();
    let events = town.live(100);
    let deliveries = town.send(&service, events);
    town.runtime.block_on(deliveries).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let mut limited = Command::new("sh");
    limited.args([
        "-c",
        r#"trap "" XFSZ; ulimit -f 64; exec "$0" "$@""#,
        env!("CARGO_BIN_EXE_roster"),
        "backup",
    ]);
    let output = limited.arg(elsewhere.path().join("copy.db")).current_dir(town.folder()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("copy.db.partial cannot be written") && said.contains("have room"), "{said}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    drop(program);
}
