//! Webhooks, distinct and signed, each on the disk before it is acknowledged.

use std::cell::RefCell;

use super::super::disk::{inserts_per_second, syncs_per_second};
use super::super::measure::{Contender, contest, median};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::{node_service, roster};
use super::super::work::Feed;
use super::super::{Bench, data};

pub(crate) fn webhooks(bench: &Bench) -> Vec<Section> {
    [16, 64].into_iter().map(|connections| section(bench, connections)).collect()
}

fn section(bench: &Bench, connections: usize) -> Section {
    let (turns, folder) = (bench.turns, data::scratch());
    let (syncs, inserts) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let one = node_service(&bench.clerk, data::node_folder(bench.town), 1);
    let two = node_service(&bench.clerk, data::node_folder(bench.town), 2);
    let feeds = [(); 3].map(|()| Feed::of(bench.town));
    let [first, second, third] = &feeds;
    let time = turns.time;
    let contenders = vec![
        Contender::new("Roster", &roster, |last| vec![first.flood(roster.address, connections, time, last)]),
        Contender::new("Node", &one, |last| vec![second.flood(one.address, connections, time, last)]),
        Contender::new("Node, two processes", &two, |last| {
            vec![third.flood(two.address, connections, time, last)]
        }),
    ];
    let lines = contest(turns, contenders, || {
        syncs.borrow_mut().push(syncs_per_second(folder.path(), time / 2));
        inserts.borrow_mut().push(inserts_per_second(folder.path(), time / 2));
    });
    let [roster, one, two] = [0, 1, 2].map(|at| lines[at].figures);
    let best = one.per_second.max(two.per_second);
    let ratios = vec![
        Ratio::new("times Node's webhooks (the better one)", roster.per_second / best, Target::AtLeast(5.0)),
        Ratio::new("p99 in ms", roster.p99_us / 1e3, Target::AtMost(25.0)),
        Ratio::told("`fdatasync` of 4 KiB, a second, between the rounds", median(syncs.into_inner())),
        Ratio::told("SQLite, a row a transaction, a second", median(inserts.into_inner())),
    ];
    let title = format!("Durable webhooks, {connections} connections");
    Section { row: "webhooks", title, what: "webhooks", lines, ratios }
}
