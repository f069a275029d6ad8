//! Reads spread over thousands of organizations, with a cache that holds them all and with one that does not.

use super::super::measure::{Contender, contest};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::{Server, node_service, roster};
use super::super::work::{lists, reads};
use super::super::{Bench, data};
use crate::town::EACH;

/// Far less than the lists take together.
const SMALL_CACHE_MB: usize = 16;

pub(crate) fn spread(bench: &Bench) -> Vec<Section> {
    let requests = lists(bench.town, &bench.clerk, bench.organizations);
    let small = roster(&bench.clerk, data::roster_folder(bench.town), Some(SMALL_CACHE_MB));
    let usual = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let node = node_service(&bench.clerk, data::node_folder(bench.town), 2);
    let work = |server: &Server| reads(server.address, requests.clone(), bench.turns.time, EACH);
    let contenders = vec![
        Contender::reads("Roster, usual cache", &usual, work(&usual)),
        Contender::reads(&format!("Roster, cache of {SMALL_CACHE_MB} MB"), &small, work(&small)),
        Contender::reads("Node, two processes", &node, work(&node)),
    ];
    let lines = contest(bench.turns, contenders, || {});
    let times = |at: usize| lines[at].figures.per_second / lines[2].figures.per_second;
    let ratios = vec![
        Ratio::new("times Node's requests, usual cache", times(0), Target::AtLeast(10.0)),
        Ratio::new("times Node's requests, small cache", times(1), Target::AtLeast(4.0)),
    ];
    let title = format!("Lists of {EACH}, {} organizations in turn, 16 connections", requests.len());
    vec![Section { row: "spread", title, what: "requests", lines, ratios }]
}
