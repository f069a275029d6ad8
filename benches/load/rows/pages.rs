//! A page of 50 out of a very large organization: the first one and one near the end.

use super::super::client::{Work, ask, get};
use super::super::measure::{Contender, contest};
use super::super::report::{Ratio, Section, Target};
use super::super::servers::{LIST, Server, node_service, roster};
use super::super::work::reads;
use super::super::{Bench, data};
use crate::town::{LARGE, created_at_ms, id};

pub(crate) fn pages(bench: &Bench) -> Vec<Section> {
    let token = bench.clerk.token(0, LARGE, 0);
    let roster = roster(&bench.clerk, data::roster_folder(bench.town), None);
    let node = node_service(&bench.clerk, data::node_folder(bench.town), 2);
    let first = format!("{LIST}?limit=50");
    let before = bench.town.large * 9 / 10 / 500 * 500;
    let deep = deep_page(&roster, &token, before);
    let last = before - 1;
    let node_deep = format!("{first}&after={},{}", created_at_ms(last), id("user", last));
    let answer = |server: &Server, path: &str| ask(server.address, &get(path, &token, "")).unwrap().body;
    assert!(answer(&roster, &first) == answer(&node, &first), "the first pages differ");
    assert!(answer(&roster, &deep) == answer(&node, &node_deep), "the deep pages differ");

    let work = |server: &Server, path: &str| -> Work {
        reads(server.address, vec![get(path, &token, "")], bench.turns.time, 50)
    };
    let contenders = vec![
        Contender::reads("Roster, first page", &roster, work(&roster, &first)),
        Contender::reads("Roster, deep page", &roster, work(&roster, &deep)),
        Contender::reads("Node, two processes, first page", &node, work(&node, &first)),
        Contender::reads("Node, two processes, deep page", &node, work(&node, &node_deep)),
    ];
    let lines = contest(bench.turns, contenders, || {});
    let rate = |at: usize| lines[at].figures.per_second;
    let ratios = vec![
        Ratio::new("deep page, of the first one's requests", rate(1) / rate(0), Target::AtLeast(0.8)),
        Ratio::new("times Node's requests, first page", rate(0) / rate(2), Target::AtLeast(3.0)),
        Ratio::new("times Node's requests, deep page", rate(1) / rate(3), Target::AtLeast(3.0)),
    ];
    let title =
        format!("Page of 50 out of {} members (deep: after {before}), 16 connections", bench.town.large);
    vec![Section { row: "pages", title, what: "requests", lines, ratios }]
}

/// The path of the page of 50 that begins after so many members, found as a caller finds it: along `Link`.
fn deep_page(roster: &Server, token: &str, after: usize) -> String {
    let mut path = format!("{LIST}?limit=500");
    for _ in 0..after / 500 {
        let answer = ask(roster.address, &get(&path, token, "")).unwrap();
        let link = answer.header("link").expect("another page");
        link.trim_start_matches('<').split('>').next().unwrap().clone_into(&mut path);
    }
    path.replace("limit=500", "limit=50")
}
