use std::time::{Duration, Instant};

use roster::domain::Outcome;

use super::town::{Town, acknowledged};

const ROUNDS: usize = 12;
const SEED: u64 = 20_261_121;

/// After so many a new town is built, so that the last rounds are as quick as the first.
const ROUNDS_OF_A_TOWN: usize = 50;

fn rounds() -> usize {
    std::env::var("ROSTER_KILL_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut town = Town::new(SEED);
    let (mut cut_off, mut passes) = (0, 0);
    let began = Instant::now();
    let rounds = rounds();
    for round in 0..rounds {
        if round > 0 && round % ROUNDS_OF_A_TOWN == 0 {
            passes += town.passes();
            town = Town::new(SEED + round as u64);
        }
        // Without passes too, which would mend what a kill has broken.
        let reconciles = round % 2 == 1;
        town.reconcile(reconciles);
        let mut program = town.serve();
        let service = program.wait_until_it_listens();
        let events = town.live(60);
        let deliveries = town.send(&service, events.clone());
        if reconciles {
            town.ask_for_a_pass(&program);
        }
        for _ in 0..town.random.below(events.len()) {
            program.wait_for(r#""message":"delivery""#);
        }
        // Where in a commit, or between two, is left to chance.
        std::thread::sleep(Duration::from_micros(town.random.number() % 3_000));
        program.kill();
        let delivered = town.runtime.block_on(deliveries).unwrap();
        let acknowledged = acknowledged(&delivered);
        cut_off += events.len() - acknowledged.len();

        if round % 3 == 0 {
            kill_while_it_starts(&town);
        }
        let mut program = town.serve();
        let service = program.wait_until_it_listens();
        let journal = town.journal();
        for id in &acknowledged {
            let outcome = journal.get(id).map(String::as_str);
            assert!(matches!(outcome, Some("applied" | "stale")), "round {round}: {id} is {outcome:?}");
        }
        let answers = town.answers(&service);
        town.check_listed(&answers, &events, &acknowledged);

        // The sender knows of no acknowledgement and sends all of it again.
        let again = town.send(&service, events);
        for delivered in town.runtime.block_on(again).unwrap() {
            let outcome = delivered.outcome();
            assert_eq!(delivered.status(), 200, "round {round}: {delivered:?}");
            if acknowledged.contains(&delivered.message_id) {
                assert_eq!(outcome, Some(Outcome::Duplicate), "round {round}: {}", delivered.message_id);
            }
        }
        assert_eq!(town.answers(&service), town.truth(), "round {round}");
        program.kill();
    }
    assert!(cut_off > 0, "no kill fell into the stream");
    town.journal();
    passes += town.passes();
    assert!(passes > 0, "no pass ran");
    println!(
        "{rounds} rounds in {:.0?}: {cut_off} deliveries were cut off, {passes} passes begun",
        began.elapsed()
    );
}

/// As when it is out of luck, or of memory, at once.
fn kill_while_it_starts(town: &Town) {
    let mut unlucky = town.serve();
    unlucky.wait_for(r#""message":"database""#);
    unlucky.kill();
}
