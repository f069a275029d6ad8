//! A cut of power, at any moment: the files are copied as they are, and what was not flushed before is spoilt.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::town::{Town, committed};
use crate::support::database::copy_at_once;

const ROUNDS: usize = 6;
const SEED: u64 = 20_261_122;

fn rounds() -> usize {
    std::env::var("ROSTER_POWER_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

/// What a disk may hold where nothing was flushed: nothing, zeros, noise, or what was written but for one bit.
fn spoil(log: &Path, flushed: u64, town: &mut Town) {
    let length = fs::metadata(log).unwrap().len();
    let unflushed = usize::try_from(length.saturating_sub(flushed)).unwrap();
    if unflushed == 0 {
        return;
    }
    let from = flushed + town.random.below(unflushed) as u64;
    let length = usize::try_from(length - from).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(log).unwrap();
    match town.random.below(4) {
        0 => file.set_len(from).unwrap(),
        1 => file.write_all_at(&vec![0; length], from).unwrap(),
        2 => {
            let noise: Vec<_> = (0..length).map(|_| town.random.number().to_le_bytes()[0]).collect();
            file.write_all_at(&noise, from).unwrap();
        }
        _ => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, from).unwrap();
            file.write_all_at(&[byte[0] ^ 1], from).unwrap();
        }
    }
}

#[test]
fn what_was_acknowledged_survives_a_cut_of_power() {
    let mut town = Town::new(SEED);
    let mut spoilt = 0;
    for round in 0..rounds() {
        let mut program = town.serve();
        let service = program.wait_until_it_listens();
        let events = town.live(60);
        let deliveries = town.send(&service, events.clone());
        for _ in 0..=town.random.below(30) {
            program.wait_for(r#""message":"delivery""#);
        }
        let acknowledged = committed(&program);
        let log = town.folder().join("roster.db-wal");
        // All that was called durable is in this much of the log, or was put into the main file before.
        let flushed = fs::metadata(&log).unwrap().len();
        for _ in 0..town.random.below(20) {
            program.wait_for(r#""message":"delivery""#);
        }
        let copy = tempfile::tempdir().unwrap();
        copy_at_once(&program, town.folder(), copy.path());
        program.kill();
        town.runtime.block_on(deliveries).unwrap();
        let log = copy.path().join("roster.db-wal");
        spoilt += u64::from(fs::metadata(&log).unwrap().len() > flushed);
        spoil(&log, flushed, &mut town);

        town.move_to(copy);
        let mut program = town.serve();
        let service = program.wait_until_it_listens();
        let journal = town.journal();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !journal.contains_key(*id)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
        let answers = town.answers(&service);
        town.check_listed(&answers, &events, &acknowledged);

        let again = town.send(&service, events);
        assert!(town.runtime.block_on(again).unwrap().iter().all(|one| one.status() == 200), "round {round}");
        assert_eq!(town.answers(&service), town.truth(), "round {round}");
        program.kill();
    }
    assert!(spoilt > 0, "nothing was ever written past what was flushed");
}
