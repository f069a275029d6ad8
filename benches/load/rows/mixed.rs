//! Reads while webhooks arrive: some of them change the very list that is read.

use super::super::client::Work;
use super::super::measure::{Contender, contest};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::roster;
use super::super::work::{Feed, list_of_50, reads};
use super::super::{Bench, data};

const WEBHOOKS_PER_SECOND: u32 = 500;
/// Of one connection: 16 of them ask 4,000 times a second, well below what the machine can do.
const PACE: std::time::Duration = std::time::Duration::from_millis(4);

pub(crate) fn mixed(bench: &Bench) -> Vec<Section> {
    let with = format!("with {WEBHOOKS_PER_SECOND} webhooks/s");
    [("as fast as they can", None), ("4 000 a second", Some(PACE))]
        .map(|(how, pace)| {
            let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
            let feed = Feed::of(bench.town);
            let request = list_of_50(bench.town, &bench.clerk, 0);
            let read = Work { pace, ..reads(roster.address, vec![request], bench.turns.time, 50) };
            let contenders = vec![
                Contender::reads("reads alone", &roster, read.clone()),
                Contender::new(&with, &roster, |_| {
                    vec![read.clone(), feed.stream(roster.address, WEBHOOKS_PER_SECOND, bench.turns.time)]
                }),
            ];
            let lines = contest(bench.turns, contenders, || {});
            let value = lines[1].figures.p99_us / lines[0].figures.p99_us;
            let ratios = vec![Ratio::new("of the p99 without", value, Target::AtMost(1.25))];
            let title = format!("List of 50 while webhooks arrive, 16 connections, {how}");
            Section { row: "mixed", title, what: "requests", lines, ratios }
        })
        .into()
}
